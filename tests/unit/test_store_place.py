"""Deployed models in an object store: several machines, damage, and a store that does not answer."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from churnops.errors import BundleError, RegistryError, StoreError
from churnops.journal import DeploymentLog
from churnops.journal.database import open_database
from churnops.journal.deployment_log import Intent
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.objects import ConditionError, ObjectStore, Stored
from churnops.registry import DeploymentFolder
from churnops.registry.place import OvertakenError
from churnops.registry.production_document import PRODUCTION
from churnops.registry.reference import reference_path, save_reference
from churnops.registry.store_place import StorePlace
from churnops.training.train import TrainedModels
from tests.support.deployments import prune
from tests.support.object_stores import memory_store


@pytest.fixture
def store() -> ObjectStore:
    return memory_store()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DeploymentLog]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    yield DeploymentLog(engine)
    engine.dispose()


@pytest.fixture
def machines(tmp_path: Path, store: ObjectStore, log: DeploymentLog) -> list[DeploymentFolder]:
    """Two machines with the same store and journal, each with a copy of its own."""
    return [DeploymentFolder(StorePlace(store, tmp_path / name), log, lambda _: None) for name in ("one", "two")]


@pytest.fixture
def bundles(trained: TrainedModels) -> tuple[Bundle, Bundle]:
    return trained.models["decision_tree"].bundle, trained.models["logistic_regression"].bundle


def deploy(folder: DeploymentFolder, bundle: Bundle, version: int = 1) -> str:
    with folder.locked():
        return folder.deploy(bundle, version, "a test").name


def test_another_machine_copies_the_deployed_version_and_its_sample(
    machines: list[DeploymentFolder], bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    save_reference(one.folder, bundles[0].content_sha256, b"a sample")
    name = deploy(one, bundles[0])
    two.place.refresh()
    assert two.current() == name
    assert require_deployed(two.folder).content_sha256 == bundles[0].content_sha256
    assert reference_path(two.folder, bundles[0].content_sha256).read_bytes() == b"a sample"


def test_the_customers_of_a_challenger_are_known_on_every_machine(
    machines: list[DeploymentFolder], bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    sha256 = bundles[1].content_sha256
    save_reference(one.folder, sha256, b"a sample")
    one.place.share_customers(sha256)
    two.place.fetch_customers(sha256)
    assert reference_path(two.folder, sha256).read_bytes() == b"a sample"


def test_of_two_machines_that_deploy_at_once_one_succeeds(
    machines: list[DeploymentFolder], bundles: tuple[Bundle, Bundle], log: DeploymentLog
):
    one, two = machines
    deploy(one, bundles[0])
    with two.locked():
        winner = deploy(one, bundles[1], 2)
        with pytest.raises(OvertakenError, match="another machine has deployed meanwhile"):
            two.deploy(bundles[0], 3, "late")
    assert [d.closed for d in log.history()] == ["done", "done", "undone"]
    two.place.follow()
    assert one.current() == two.current() == winner


def test_an_undone_deployment_elsewhere_can_no_longer_happen(
    machines: list[DeploymentFolder],
    bundles: tuple[Bundle, Bundle],
    log: DeploymentLog,
    monkeypatch: pytest.MonkeyPatch,
):
    one, two = machines
    first = deploy(one, bundles[0])
    swap = two.place.swap

    def meanwhile(intent: object) -> None:
        with one.locked():
            assert [d.closed for d in one.recover()] == ["undone"]
        swap(intent)  # type: ignore[arg-type]

    monkeypatch.setattr(two.place, "swap", meanwhile)
    with pytest.raises(OvertakenError):
        deploy(two, bundles[1], 2)
    assert [d.closed for d in log.history()] == ["done", "undone"]
    one.place.follow()
    assert one.current() == first


def test_a_write_whose_answer_was_lost_counts(
    machines: list[DeploymentFolder],
    bundles: tuple[Bundle, Bundle],
    log: DeploymentLog,
    monkeypatch: pytest.MonkeyPatch,
):
    one, _ = machines
    deploy(one, bundles[0])
    replace = ObjectStore.replace

    def lost(store: ObjectStore, name: str, data: bytes, expected: Stored) -> Stored:
        replace(store, name, data, expected)
        raise ConditionError("the repetition was refused")

    monkeypatch.setattr(ObjectStore, "replace", lost)
    name = deploy(one, bundles[1], 2)
    assert one.current() == name
    assert [d.closed for d in log.history()] == ["done", "done"]


def test_a_rollback_copies_a_version_that_this_machine_lacks(
    machines: list[DeploymentFolder], bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    first = deploy(one, bundles[0])
    deploy(one, bundles[1], 2)
    with two.locked():
        assert two.rollback(None, "worse").name == first
    assert require_deployed(two.folder).content_sha256 == bundles[0].content_sha256


def test_a_rollback_returns_a_version_that_another_machine_pruned(
    machines: list[DeploymentFolder], bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    names = []
    for number in range(4):
        names.append(deploy(one, bundles[number % 2], number + 1))
        two.place.follow()
    with one.locked():
        assert prune(one, 1) == names[:2]
    with two.locked():
        assert two.rollback(names[0], "the best").name == names[0]
    one.place.follow()
    assert one.current() == names[0]


def test_a_damaged_version_is_refused_and_the_copy_stays(
    machines: list[DeploymentFolder], store: ObjectStore, bundles: tuple[Bundle, Bundle], tmp_path: Path
):
    one, two = machines
    first = deploy(one, bundles[0])
    two.place.follow()
    name = deploy(one, bundles[1], 2)
    key, whole = f"versions/{name}/estimator.npz", one.versions / name / "estimator.npz"
    (tmp_path / "damaged").write_bytes(whole.read_bytes()[:-1] + b"?")
    store.upload(key, tmp_path / "damaged")
    with pytest.raises(BundleError, match=rf"bundle s3://\S+/versions/{name} is refused: estimator\.npz was changed"):
        two.place.follow()
    assert two.current() == two.place.refused == name
    assert two.link.readlink().name == first
    assert sorted(path.name for path in two.versions.iterdir()) == [first]
    store.upload(key, whole)
    two.place.follow()
    assert two.place.refused is None
    assert two.current() == name


@pytest.mark.parametrize("rolls_back", [True, False])
def test_any_machine_replaces_a_version_that_the_store_has_lost(
    machines: list[DeploymentFolder], store: ObjectStore, bundles: tuple[Bundle, Bundle], rolls_back: bool
):
    one, two = machines
    first = deploy(one, bundles[0])
    name = deploy(one, bundles[1], 2)
    store.delete([f"versions/{name}/estimator.npz"])
    with two.locked():
        assert two.current() == name
        with pytest.raises(BundleError, match=rf"/versions/{name} is refused: estimator\.npz is missing"):
            two.production()
        new = two.rollback(None, "damaged").name if rolls_back else two.deploy(bundles[0], 3, "damaged").name
        assert two.current() == new
        assert two.production() is not None
    assert two.log.history()[-1].previous == name
    assert (new == first) is rolls_back
    one.place.follow()
    assert one.current() == new


def test_a_damaged_copy_is_replaced(machines: list[DeploymentFolder], bundles: tuple[Bundle, Bundle], tmp_path: Path):
    one, two = machines
    name = deploy(one, bundles[0])
    two.place.follow()
    (two.versions / name / "estimator.npz").write_bytes(b"?")
    again = StorePlace(two.place.store, two.folder)  # type: ignore[attr-defined]
    again.follow()
    assert require_deployed(two.folder).content_sha256 == bundles[0].content_sha256


def test_a_removed_copy_is_made_again_by_a_running_service(
    machines: list[DeploymentFolder], bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    deploy(one, bundles[0])
    for _ in range(2):
        two.place.follow()
        assert require_deployed(two.folder).content_sha256 == bundles[0].content_sha256
        shutil.rmtree(two.folder)


def test_a_deployment_of_unknown_outcome_is_finished_by_the_next(
    machines: list[DeploymentFolder],
    bundles: tuple[Bundle, Bundle],
    log: DeploymentLog,
    monkeypatch: pytest.MonkeyPatch,
):
    one, two = machines
    deploy(one, bundles[0])
    replace = ObjectStore.replace

    def lost(store: ObjectStore, name: str, data: bytes, expected: Stored) -> Stored:
        replace(store, name, data, expected)
        patch.setattr(ObjectStore, "read", fail)
        return fail()

    def fail(*_: object, **__: object) -> Stored:
        raise StoreError("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "replace", lost)
        with pytest.raises(StoreError, match="whether the version is deployed is not known: repeat the command"):
            deploy(one, bundles[1], 2)
    assert [d.closed for d in log.history()] == ["done", None]
    with two.locked():
        assert [d.closed for d in two.recover()] == ["done"]
    assert require_deployed(two.folder).content_sha256 == bundles[1].content_sha256


def test_a_store_without_its_document_stops_deployments_not_readers(
    machines: list[DeploymentFolder], store: ObjectStore, bundles: tuple[Bundle, Bundle]
):
    one, _ = machines
    name = deploy(one, bundles[0])
    store.delete([PRODUCTION])
    with pytest.raises(StoreError, match="has no deployed model, but its copy"):
        deploy(one, bundles[1], 2)
    one.place.refresh()
    assert one.current() == name


def test_a_foreign_document_and_a_path_in_it_are_refused(
    machines: list[DeploymentFolder], store: ObjectStore, bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    deploy(one, bundles[0])
    written = store.read(PRODUCTION, max_bytes=2**16)
    assert written is not None
    name = one.current()
    assert name is not None
    for data in (b"{}", written.data.replace(name.encode(), b"../../elsewhere")):
        written = store.replace(PRODUCTION, data, written)
        with pytest.raises(RegistryError, match=r"production\.json was not written by this churnops"):
            two.place.follow()
    assert two.current() is None


def test_pruning_spares_a_version_that_another_machine_is_copying(
    machines: list[DeploymentFolder],
    bundles: tuple[Bundle, Bundle],
    log: DeploymentLog,
    monkeypatch: pytest.MonkeyPatch,
):
    one, two = machines
    first, open_intent = deploy(one, bundles[0]), log.open_intent

    def meanwhile(intent: Intent) -> int:
        with one.locked():
            assert prune(one, 0) == []
        return open_intent(intent)

    monkeypatch.setattr(log, "open_intent", meanwhile)
    name = deploy(two, bundles[1], 2)
    one.place.follow()
    assert require_deployed(one.folder).content_sha256 == bundles[1].content_sha256
    assert one.place.names() == {first, name}


def test_pruning_removes_versions_from_the_store_too(
    machines: list[DeploymentFolder], store: ObjectStore, bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    names = [deploy(one, bundles[number % 2], number + 1) for number in range(4)]
    shutil.rmtree(two.folder, ignore_errors=True)
    with two.locked():
        assert prune(two, 1) == names[:2]
    assert {entry.name.split("/")[1] for entry in store.entries("versions")} == set(names[2:])
    with one.locked():
        assert prune(one, 1) == names[:2]  # the copies of this machine


def test_files_on_training_customers_are_removed_from_the_store_too(
    machines: list[DeploymentFolder], store: ObjectStore, bundles: tuple[Bundle, Bundle]
):
    one, two = machines
    content = bundles[0].content_sha256
    save_reference(one.folder, content, b"a sample")
    deploy(one, bundles[0])
    assert two.place.remove_customers(content) == 0
    assert list(store.entries("reference")) == []
    assert one.place.remove_customers(content) == len(b"a sample")
