"""Rollback from the dashboard: possible versions, keys, and its traces."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from streamlit import cache_data
from streamlit.testing.v1 import AppTest

from churnops.app.models.rollback import roll_back_to, targets
from churnops.app.shared import admin_key
from churnops.app.shared.admin_key import Attempts, RefusedError, admitted
from churnops.errors import StoreError
from churnops.journal import DeploymentLog, open_database
from churnops.journal.keys import KeyStore
from churnops.objects import ObjectStore
from churnops.registry import DeploymentFolder
from churnops.registry.place import Place
from churnops.registry.store_place import StorePlace
from churnops.settings import Settings, load_settings
from churnops.training.train import TrainedModels
from tests.support.app_models import deployment, spells
from tests.support.object_stores import memory_store
from tests.support.processes import PATIENCE

Show = Callable[[str], AppTest]
SURE = "I want this version in production from now on"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A counter of wrong keys for this test, and the recorded pauses, which do not wait."""
    paused: list[float] = []
    monkeypatch.setattr(admin_key, "ATTEMPTS", Attempts(limit=5, seconds=60.0))
    monkeypatch.setattr(admin_key, "_pause", paused.append)
    return paused


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyStore]:
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    yield KeyStore(engine)
    engine.dispose()


@pytest.fixture
def deployed(in_project: Path, trained: TrainedModels) -> Iterator[tuple[Settings, DeploymentFolder, KeyStore]]:
    """A project with a second version deployed."""
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    folder = DeploymentFolder(Place(in_project / "models"), DeploymentLog(engine), lambda _sha256: None)
    folder.deploy(trained.models["decision_tree"].bundle, 2, "a try")
    yield load_settings(in_project / "config.yaml"), folder, KeyStore(engine)
    engine.dispose()


@pytest.fixture
def in_store(in_project: Path, trained: TrainedModels, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store of the dashboard's models, in which another machine has deployed versions 2 and 3."""
    store, config = memory_store(), in_project / "config.yaml"
    document = yaml.safe_load(config.read_text())
    document["registry"]["directory"] = store.address
    config.write_text(yaml.safe_dump(document))
    monkeypatch.setattr("churnops.project.ObjectStore", lambda _address: store)
    monkeypatch.setattr("churnops.app.models.kept.WAIT_SECONDS", PATIENCE)
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    elsewhere = StorePlace(store, in_project / "elsewhere")
    folder = DeploymentFolder(elsewhere, DeploymentLog(engine), lambda _sha256: None)
    for version, name in ((2, "decision_tree"), (3, "logistic_regression")):
        folder.deploy(trained.models[name].bundle, version, "a try")
    engine.dispose()
    return store


def press(page: AppTest, *, token: str, reason: str = "it is worse", sure: bool = True) -> AppTest:
    """Fill in the form and send it."""
    by_label = {field.label: field for field in page.text_input}
    by_label["Reason"].set_value(reason)
    by_label["Admin key"].set_value(token)
    next(box for box in page.checkbox if box.label == SURE).set_value(sure)
    return next(button for button in page.button if button.label == "Roll back to this version").click().run()


def said(page: AppTest) -> str:
    return " ".join(str(box.value) for box in [*page.error, *page.success]).replace("\\", "")


def test_earlier_models_are_listed_newest_first_without_the_current():
    kept = {deployment(1, version, 0).folder for version in (1, 2, 3)}
    current = spells()[-1].deployment.folder
    assert [target.version for target in targets(spells(), current, kept)] == [2]
    assert targets(spells(), current, kept)[0].label.startswith("Version 2: xgboost-2")
    assert targets(spells(), current, kept=set()) == []
    assert [target.version for target in targets(spells(), None, kept)] == [1, 2]


def test_versions_that_only_the_store_has_are_offered(in_project: Path, in_store: ObjectStore, show: Show):
    page = show("models")
    assert not page.exception
    assert not page.warning
    assert dict(page.dataframe[1].value[["Version", "Rollback possible"]].to_numpy()) == {3: "yes", 2: "yes", 1: "no"}
    assert [path.name[-3:] for path in (in_project / "models-copy/versions").iterdir()] == ["-v3"]


def test_without_an_answer_of_the_store_its_copy_is_listed(
    in_store: ObjectStore, show: Show, monkeypatch: pytest.MonkeyPatch
):
    show("models")  # copies the deployed version

    def fail(*_: object) -> None:
        raise StoreError("the store does not answer")

    monkeypatch.setattr(ObjectStore, "entries", fail)
    cache_data.clear()
    page = show("models")
    assert not page.exception
    assert dict(page.dataframe[1].value[["Version", "Rollback possible"]].to_numpy()) == {3: "yes", 2: "no", 1: "no"}
    assert "The object store does not answer: only the versions in this machine's copy" in page.warning[0].value


def test_an_admin_key_is_admitted_and_another_is_not(keys: KeyStore, patience: list[float]):
    good, weak = keys.add("ann", ["admin"]), keys.add("crm", ["predict", "label"])
    assert admitted(good, keys).name == "ann"
    assert patience == []
    for token, why in ((weak, "'crm' lacks the scope admin"), (good[:-1], "not valid"), ("", "not valid")):
        with pytest.raises(RefusedError, match=why) as refused:
            admitted(token, keys)
        assert not token or token not in str(refused.value)
    assert patience == [1.0, 1.0, 1.0]


def test_a_key_that_was_revoked_is_refused_at_once(keys: KeyStore):
    token = keys.add("ann", ["admin"])
    assert admitted(token, keys).name == "ann"
    keys.revoke("ann")
    with pytest.raises(RefusedError, match="not valid"):
        admitted(token, keys)


def test_wrong_keys_lock_nobody_out(keys: KeyStore):
    token, attempts = keys.add("ann", ["admin"]), Attempts(limit=3, seconds=60.0)
    for second in range(3):
        with pytest.raises(RefusedError, match="not valid: nothing has changed"):
            admitted("churnops_x_y", keys, attempts=attempts, now=lambda at=float(second): at)
    with pytest.raises(RefusedError, match="wait 58 seconds"):
        admitted("churnops_x_y", keys, attempts=attempts, now=lambda: 3.0)
    assert admitted(token, keys, attempts=attempts, now=lambda: 3.0).name == "ann"


def test_a_rollback_needs_a_reason(deployed: tuple[Settings, DeploymentFolder, KeyStore]):
    settings, folder, keys = deployed
    before = folder.current()
    for nothing in ("", "   ", "\u200b\n"):
        with pytest.raises(RefusedError, match="give a reason"):
            roll_back_to(settings, keys, to=1, reason=nothing, token=keys.add(f"ann {len(nothing)}", ["admin"]))
    assert folder.current() == before


def test_the_page_rolls_back_with_an_admin_key_at_once(
    deployed: tuple[Settings, DeploymentFolder, KeyStore], show: Show, caplog: pytest.LogCaptureFixture
):
    _, folder, keys = deployed
    token = keys.add("ann", ["admin"])
    before = show("predict")
    first = folder.answered()[0]
    with caplog.at_level(logging.DEBUG):
        page = press(show("models"), token=token, reason="complaints <b>today</b>")
    assert not page.exception
    assert "Version 1 (" in said(page)
    assert "is in production again." in said(page)
    assert folder.current() == first.folder
    newest = folder.answered()[-1]
    assert newest.kind == "rollback"
    assert newest.reason == "complaints <b>today</b> (in the dashboard: key 'ann')"
    assert any("**Version 1**" in element.value for element in page.markdown)

    name = f"{first.content_sha256[:12]}"
    assert not any(name in caption.value for caption in before.caption)
    assert any(name in caption.value for caption in show("predict").caption)

    assert token not in caplog.text
    assert token not in str(page.session_state.to_dict())
    assert {field.label: field.value for field in page.text_input}["Admin key"] == ""
    assert not next(box for box in page.checkbox if box.label == SURE).value


def test_a_wrong_key_changes_nothing_and_keeps_what_was_filled_in(
    deployed: tuple[Settings, DeploymentFolder, KeyStore], show: Show, patience: list[float]
):
    _, folder, keys = deployed
    keys.add("ann", ["admin"])
    before = folder.current()
    page = press(show("models"), token="churnops_0_wrong")
    assert said(page) == "Not rolled back: the key is not valid: nothing has changed"
    assert folder.current() == before
    assert patience == [1.0]
    assert "churnops_0_wrong" not in str(page.session_state.to_dict())
    fields = {field.label: field.value for field in page.text_input}
    assert (fields["Reason"], fields["Admin key"]) == ("it is worse", "")
    assert said(page.run()) == ""  # it is told once


def test_without_the_tick_nothing_changes_and_no_key_is_looked_at(
    deployed: tuple[Settings, DeploymentFolder, KeyStore], show: Show, patience: list[float]
):
    _, folder, keys = deployed
    before = folder.current()
    token = keys.add("ann", ["admin"])
    page = press(show("models"), token=token, sure=False)
    assert "tick the box" in said(page)
    assert folder.current() == before
    assert patience == []


def test_a_form_that_was_filled_in_for_another_model_is_refused(
    deployed: tuple[Settings, DeploymentFolder, KeyStore], show: Show, trained: TrainedModels
):
    _, folder, keys = deployed
    token = keys.add("ann", ["admin"])
    page = show("models")
    folder.deploy(trained.models["xgboost"].bundle, 3, "somebody was quicker")
    before = folder.current()
    page = press(page, token=token)
    assert "another model was deployed after" in said(page)
    assert folder.current() == before


def test_without_an_admin_key_the_page_names_the_command(
    deployed: tuple[Settings, DeploymentFolder, KeyStore], show: Show
):
    deployed[2].add("crm", ["predict"])
    page = show("models")
    assert any("churnops keys add NAME --scope admin" in box.value for box in page.info)
    assert not page.text_input


def test_there_is_no_rollback_to_a_damaged_model(deployed: tuple[Settings, DeploymentFolder, KeyStore], show: Show):
    _, folder, keys = deployed
    first, before = folder.answered()[0], folder.current()
    path = folder.versions / first.folder / "bundle.json"
    path.write_text(path.read_text().replace('"threshold": ', '"threshold": 0.1'))
    token = keys.add("ann", ["admin"])
    page = press(show("models"), token=token)
    assert "Not rolled back" in said(page)
    assert folder.current() == before
