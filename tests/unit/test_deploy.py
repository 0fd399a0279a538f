"""Deployment and rollback: after a crash between any two steps one whole model is deployed, with its log."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from churnops.errors import BundleError, RegistryError
from churnops.journal import DeploymentLog
from churnops.journal.database import open_database
from churnops.journal.deployment_log import Intent, in_production
from churnops.model import Bundle
from churnops.registry import DeploymentFolder
from churnops.registry.folder import AliasesBehindError, who
from churnops.registry.place import Place
from churnops.registry.store_place import StorePlace
from churnops.training.train import TrainedModels
from tests.support.deployments import prune
from tests.support.object_stores import memory_store


class ProcessEndsError(BaseException):
    """Raised in place of the end of the process."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DeploymentLog]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    yield DeploymentLog(engine)
    engine.dispose()


@pytest.fixture
def aliases() -> list[str]:
    """Content hashes of deployed models, in order."""
    return []


@pytest.fixture(params=["folder", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, log: DeploymentLog, aliases: list[str]) -> DeploymentFolder:
    """Deployed models in a folder, and in an object store with a local copy."""
    models = tmp_path / "models"
    place = Place(models) if request.param == "folder" else StorePlace(memory_store(), models)
    return DeploymentFolder(place, log, aliases.append)


@pytest.fixture
def bundles(trained: TrainedModels) -> tuple[Bundle, Bundle]:
    return trained.models["decision_tree"].bundle, trained.models["xgboost"].bundle


def answers(folder: DeploymentFolder) -> str:
    production = folder.production()
    assert production is not None
    return production.algorithm


def test_the_newest_deployment_answers_and_older_ones_stay(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], aliases: list[str], log: DeploymentLog
):
    assert folder.production() is None
    assert folder.current() is None
    first = folder.deploy(bundles[0], 1, "first")
    assert answers(folder) == "decision_tree"
    second = folder.deploy(bundles[1], 2, "second")
    assert answers(folder) == "xgboost"
    assert folder.current() == second.name
    assert second.name.endswith("-xgboost-v2")
    assert Bundle.load(first).algorithm == "decision_tree"
    assert aliases == [bundle.content_sha256 for bundle in bundles]
    assert [(d.folder, d.previous, d.reason, d.kind, d.by, d.closed) for d in log.history()] == [
        (first.name, None, "first", "deploy", who(), "done"),
        (second.name, first.name, "second", "deploy", who(), "done"),
    ]
    assert sorted(p.name for p in folder.folder.iterdir() if p.name[0] != ".") == ["production", "versions"]


STEPS: dict[str, Callable[[DeploymentFolder, pytest.MonkeyPatch], None]] = {
    "while the folder is written": lambda f, m: m.setattr("churnops.model.bundle_folder.os.fsync", stop),
    "before the intent": lambda f, m: m.setattr(f.log, "open_intent", stop),
    "before the link": lambda f, m: m.setattr(f.place, "swap", stop),
    "before the aliases": lambda f, m: m.setattr(f, "_move_aliases", stop),
    "before the intent is closed": lambda f, m: m.setattr(f.log, "close", stop),
}


def stop(*_args: object, **_kwargs: object) -> None:
    raise ProcessEndsError


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_between_any_two_steps_is_repaired(
    step: str,
    folder: DeploymentFolder,
    bundles: tuple[Bundle, Bundle],
    aliases: list[str],
    log: DeploymentLog,
    monkeypatch: pytest.MonkeyPatch,
):
    folder.deploy(bundles[0], 1, "first")
    with monkeypatch.context() as patch:
        STEPS[step](folder, patch)
        with pytest.raises(ProcessEndsError):
            folder.deploy(bundles[1], 2, "second")
    swapped = step in ("before the aliases", "before the intent is closed")
    assert answers(folder) == ("xgboost" if swapped else "decision_tree")

    # Another process comes: it finishes what was swapped and undoes the rest; twice is as good as once.
    other = DeploymentFolder(folder.place, log, aliases.append)
    other.recover()
    other.recover()
    assert log.open_intents() == []
    assert aliases[-1] == bundles[1 if swapped else 0].content_sha256
    assert answers(other) == ("xgboost" if swapped else "decision_tree")
    assert not list(folder.folder.glob("versions/.unfinished-*"))

    other.deploy(bundles[1], 3, "again")
    assert answers(other) == "xgboost"
    assert log.history()[-1].closed == "done"


def test_a_damaged_production_is_an_error_and_stays_where_it_is(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle]
):
    saved = folder.deploy(bundles[0], 1, "first")
    document = json.loads((saved / "bundle.json").read_text())
    (saved / "bundle.json").write_text(json.dumps(document | {"threshold": 0.9}))
    with pytest.raises(BundleError, match="was changed"):
        folder.production()
    assert folder.current() == saved.name


def test_a_folder_that_churnops_did_not_make_is_not_replaced(folder: DeploymentFolder, bundles: tuple[Bundle, Bundle]):
    folder.link.mkdir(parents=True)
    with pytest.raises(RegistryError, match="move it away first"):
        folder.deploy(bundles[0], 1, "first")
    with pytest.raises(RegistryError, match="move it away first"):  # and a run says so before it trains
        folder.production()
    assert folder.link.is_dir()


def test_a_link_to_itself_is_refused(folder: DeploymentFolder):
    folder.folder.mkdir()
    folder.link.symlink_to("production")
    with pytest.raises(BundleError, match=r"a link to itself|bundle\.json is missing"):
        folder.production()


@pytest.fixture
def versions(folder: DeploymentFolder, bundles: tuple[Bundle, Bundle]) -> list[str]:
    """Names of the folders of four models, deployed one after another."""
    models = [replace(bundles[0], threshold=0.1 * (n + 1)) for n in range(4)]
    return [folder.deploy(model, n + 1, f"number {n + 1}", by="ann").name for n, model in enumerate(models)]


def state(folder: DeploymentFolder) -> object:
    return folder.current(), folder.log.history(), sorted(folder.folder.rglob("*"))


def test_two_rollbacks_go_two_models_back(
    folder: DeploymentFolder, versions: list[str], aliases: list[str], log: DeploymentLog
):
    contents = list(aliases)
    assert folder.rollback(None, "worse", by="bob").name == versions[2]
    assert folder.rollback(None, "worse still", by="bob").name == versions[1]
    assert folder.current() == versions[1]
    assert aliases == [*contents, contents[2], contents[1]]
    back = log.history()[-1]
    assert (back.folder, back.previous, back.version, back.reason) == (versions[1], versions[2], 2, "worse still")
    assert (back.kind, back.by, back.closed) == ("rollback", "bob", "done")


def test_rollback_after_a_deployment_returns_to_the_replaced_model(
    folder: DeploymentFolder, versions: list[str], bundles: tuple[Bundle, Bundle]
):
    folder.rollback(versions[0], "an old one")
    folder.deploy(bundles[1], 5, "a new one")
    assert folder.rollback(None, "it is worse").name == versions[0]


def test_a_rollback_to_a_named_model_may_go_forward(folder: DeploymentFolder, versions: list[str]):
    folder.rollback(versions[0], "far back")
    assert folder.rollback(versions[3], "no, it was better").name == versions[3]
    assert folder.rollback(None, "no, it was not").name == versions[2]


@pytest.mark.parametrize("folder", ["folder"], indirect=True)  # a store repairs its local copy
def test_a_rollback_takes_the_newest_folder_of_a_version(folder: DeploymentFolder, bundles: tuple[Bundle, Bundle]):
    first = folder.deploy(bundles[0], 1, "first")
    folder.deploy(bundles[1], 2, "second")
    again = folder.deploy(bundles[0], 1, "again")
    assert folder.folder_of(1) == again.name
    folder.deploy(bundles[1], 2, "and again")
    again.rename(again.with_name("away"))
    assert folder.folder_of(1) == first.name
    with pytest.raises(RegistryError, match=r"^version 3 was never deployed.*`churnops promote 3` deploys it$"):
        folder.folder_of(3)


def damage(path: Path) -> None:
    (path / "estimator.npz").write_bytes(b"damaged")


def put_another_there(path: Path) -> None:
    bundle = Bundle.load(path)
    path.rename(path.with_name("away"))
    replace(bundle, threshold=0.77).save(path)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "damaged": (damage, r"estimator\.npz was changed.*`churnops promote 3` deploys it again"),
    "another bundle": (
        put_another_there,
        r"another bundle was deployed in this folder; `churnops promote 3`",
    ),
    "removed": (lambda path: path.rename(path.with_name("away")), r"version 3 .*removed: `churnops promote 3`"),
    "a link": (
        lambda path: path.rename(path.with_name("away")).parent.joinpath(path.name).symlink_to("away"),
        r"version 3 .*removed: `churnops promote 3`",
    ),
}


@pytest.mark.parametrize("folder", ["folder"], indirect=True)  # a store repairs its local copy
@pytest.mark.parametrize("what", REFUSED)
def test_an_impossible_rollback_is_one_line_and_changes_nothing(
    what: str, folder: DeploymentFolder, versions: list[str]
):
    change, message = REFUSED[what]
    change(folder.versions / versions[2])
    before = state(folder)
    with pytest.raises((BundleError, RegistryError), match=message) as caught:
        folder.rollback(None, "worse")
    assert "\n" not in str(caught.value)
    assert state(folder) == before
    assert folder.rollback(versions[1], "another then").name == versions[1]


def test_rollback_without_a_known_earlier_version_is_refused(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], tmp_path: Path
):
    with pytest.raises(RegistryError, match="no model is deployed"):
        folder.rollback(None, "worse")
    first = folder.deploy(bundles[0], 1, "first")
    before = state(folder)
    with pytest.raises(RegistryError, match="version 1 was the first"):
        folder.rollback(None, "worse")
    with pytest.raises(RegistryError, match="version 1 is deployed already"):
        folder.rollback(first.name, "worse")
    with pytest.raises(RegistryError, match="nonsense is not in the deployment log: `churnops models`"):
        folder.rollback("nonsense", "worse")
    assert state(folder) == before
    engine = open_database(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(RegistryError, match="does not name the model that"):
        DeploymentFolder(folder.place, DeploymentLog(engine), None).rollback(None, "worse")
    engine.dispose()


@pytest.mark.parametrize("step", [step for step in STEPS if step != "while the folder is written"])
def test_a_crash_between_any_two_steps_of_a_rollback_is_repaired(
    step: str,
    folder: DeploymentFolder,
    versions: list[str],
    aliases: list[str],
    log: DeploymentLog,
    monkeypatch: pytest.MonkeyPatch,
):
    contents = list(aliases)
    with monkeypatch.context() as patch:
        STEPS[step](folder, patch)
        with pytest.raises(ProcessEndsError):
            folder.rollback(None, "worse")
    swapped = step in ("before the aliases", "before the intent is closed")
    assert folder.current() == versions[2 if swapped else 3]
    other = DeploymentFolder(folder.place, log, aliases.append)
    closed = other.recover()
    assert other.recover() == []
    assert [d.closed for d in closed] == ([] if step == "before the intent" else ["done" if swapped else "undone"])
    assert aliases[-1] == contents[2 if swapped else 3]
    assert other.rollback(None, "again").name == versions[1 if swapped else 2]


def test_a_silent_store_blocks_no_rollback_and_learns_them_in_order(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], aliases: list[str], log: DeploymentLog
):
    def refuse(content_sha256: str) -> None:
        raise RegistryError("the store is down")

    first = folder.deploy(bundles[0], 1, "first")
    down = DeploymentFolder(folder.place, log, refuse)
    with pytest.raises(AliasesBehindError, match="-v2 is deployed, but MLflow's aliases do not name it yet: the store"):
        down.deploy(bundles[1], 2, "second")
    assert answers(folder) == "xgboost"
    without = DeploymentFolder(folder.place, log, None)
    assert without.rollback(None, "worse") == first
    assert answers(folder) == "decision_tree"
    assert [d.reason for d in without.answered()] == ["first", "second", "worse"]
    with pytest.raises(AliasesBehindError, match="-v2 is deployed"):
        down.recover()
    assert [d.closed for d in log.history()] == ["done", None, None]
    one, other = (bundle.content_sha256 for bundle in bundles)
    assert [d.closed for d in folder.recover()] == ["done", "done"]
    assert aliases == [one, other, one]


def test_a_deployment_does_not_wait_for_aliases_of_an_earlier_one(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], log: DeploymentLog
):
    def refuse(content_sha256: str) -> None:
        raise RegistryError("the store is down")

    assert folder.since() is None
    folder.deploy(bundles[0], 1, "first")
    down = DeploymentFolder(folder.place, log, refuse)
    for number, bundle in ((2, bundles[1]), (3, bundles[0])):
        with pytest.raises(AliasesBehindError, match="-v2 is deployed"):
            down.deploy(bundle, number, "while the store is down")
        assert folder.current().endswith(f"-v{number}")
        assert folder.since() == log.history()[-1].at
    assert len(log.open_intents()) == 2


def test_a_rollback_that_never_happened_is_not_part_of_the_history(
    folder: DeploymentFolder, versions: list[str], log: DeploymentLog, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(folder.place, "swap", stop)
        with pytest.raises(ProcessEndsError):
            folder.rollback(versions[0], "given up")
    DeploymentFolder(folder.place, log, None).rollback(versions[0], "done")  # without closing what is done
    assert [d.reason for d in folder.answered()][-2:] == ["number 4", "done"]
    spells = in_production(folder.answered())
    assert [spell.deployment.version for spell in spells] == [1, 2, 3, 4, 1]
    assert [spell.until for spell in spells] == [*(spell.deployment.at for spell in spells[1:]), None]
    assert in_production([]) == []


def test_pruning_keeps_newest_deployed_and_previous_ones(folder: DeploymentFolder, versions: list[str]):
    folder.rollback(versions[1], "far back")  # so the way back leads to the first
    assert folder.in_use(1) == {
        versions[0]: "target of `churnops rollback`",
        versions[1]: "deployed",
        versions[3]: "one of the newest deployments",
    }
    third = sum(file.stat().st_size for file in (folder.versions / versions[2]).iterdir())
    assert folder.remove([versions[2]]) == third
    assert sorted(path.name for path in folder.versions.iterdir()) == [versions[0], versions[1], versions[3]]
    assert prune(folder, 0) == [versions[3]]
    assert folder.rollback(None, "still possible").name == versions[0]
    with pytest.raises(RegistryError, match="its folder was removed: `churnops promote 4`"):
        folder.rollback(versions[3], "removed")


def test_pruning_goes_by_the_log_and_not_by_the_times_in_names(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], log: DeploymentLog
):
    names = ["22000101T000000.000000Z-xgboost-v1", "20000101T000000.000000Z-xgboost-v2"]
    for number, name in enumerate(names, start=1):
        bundles[0].save(folder.versions / name)
        log.open_intent(Intent(folder=name, version=number, content_sha256="a", previous=None, reason="r", by="me"))
        log.close(log.history()[-1], "done")
    assert prune(folder, 1) == [names[0]]


def test_pruning_touches_no_foreign_file_and_no_link(folder: DeploymentFolder, versions: list[str], tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.txt").write_text("keep me")
    link = folder.versions / "20200101T000000.000000Z-xgboost-v9"
    link.symlink_to(elsewhere)
    (folder.versions / "notes").mkdir()
    (folder.versions / "20200101T000000.000000Z-xgboost-v8").write_text("a file")
    (folder.versions / ".removed-link").symlink_to(elsewhere)
    (folder.versions / versions[0] / "inside").symlink_to(elsewhere)
    assert prune(folder, 0) == [versions[0], versions[1]]
    assert (elsewhere / "precious.txt").read_text() == "keep me"
    left = {path.name for path in folder.versions.iterdir()}
    assert left == {*versions[2:], "notes", link.name, "20200101T000000.000000Z-xgboost-v8", ".removed-link"}

    folder.versions.rename(tmp_path / "moved")
    folder.versions.symlink_to(tmp_path / "moved")
    with pytest.raises(RegistryError, match="is a link, and nothing is removed through a link"):
        folder.remove([])


def test_a_killed_pruning_leaves_whole_bundles_and_is_finished_next(
    folder: DeploymentFolder, versions: list[str], monkeypatch: pytest.MonkeyPatch
):
    (folder.versions / ".unfinished-x").mkdir()  # of a deployment that was killed
    with monkeypatch.context() as patch:
        patch.setattr("churnops.registry.place.shutil.rmtree", stop)
        with pytest.raises(ProcessEndsError):
            prune(folder, 1)
    for path in folder.versions.glob("[!.]*"):
        assert Bundle.load(path)
    assert sorted(path.name for path in folder.versions.glob("[!.]*")) == versions[2:]
    assert folder.names() == versions[2:]
    assert folder.remove([]) > 0
    assert sorted(path.name for path in folder.versions.iterdir()) == versions[2:]


def test_an_open_intents_folder_is_not_pruned(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], versions: list[str], monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(folder.place, "swap", stop)
        with pytest.raises(ProcessEndsError):
            folder.rollback(versions[0], "killed")
    assert prune(folder, 0) == [versions[1]]


def test_pruning_nothing_removes_nothing(folder: DeploymentFolder):
    assert prune(folder, 0) == []


def test_a_user_without_a_name_is_recorded_by_number(monkeypatch: pytest.MonkeyPatch):
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("churnops.registry.folder.getpass.getuser", nameless)
    assert who().startswith("user ")
