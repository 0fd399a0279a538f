"""A service whose models are in an object store: it refuses a damaged version at once, and mends a damaged copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from churnops.journal import DeploymentLog, Engine, open_database
from churnops.journal.replicas import ReplicaStore
from churnops.model import Bundle
from churnops.objects import ObjectStore
from churnops.registry import DeploymentFolder
from churnops.registry.store_place import StorePlace
from churnops.retraining.follow import check_replicas
from churnops.settings import Settings
from tests.support.api import client_of
from tests.support.object_stores import memory_store
from tests.support.processes import PATIENCE, wait_for


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    store = memory_store()
    monkeypatch.setattr("churnops.project.ObjectStore", lambda _address: store)
    return store


@pytest.fixture
def settings(make_settings, store: ObjectStore) -> Settings:
    return make_settings(registry={"directory": store.address, "copy_directory": "copy"})


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_database(settings.database_url(settings.journal.url))
    yield engine
    engine.dispose()


@pytest.fixture
def elsewhere(engine: Engine, store: ObjectStore, tmp_path: Path) -> DeploymentFolder:
    """The models on another machine, from which the test deploys."""
    return DeploymentFolder(StorePlace(store, tmp_path / "elsewhere"), DeploymentLog(engine), lambda _sha256: None)


def deploy(elsewhere: DeploymentFolder, bundle: Bundle, version: int) -> str:
    with elsewhere.locked():
        return elsewhere.deploy(bundle, version, "a test").name


def test_damage_in_the_store_and_in_its_copy(
    settings: Settings,
    engine: Engine,
    store: ObjectStore,
    elsewhere: DeploymentFolder,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
):
    replicas = ReplicaStore(engine)
    first = deploy(elsewhere, bundle, 1)
    with client_of(settings) as client:
        wait_for("the first version answers", lambda: client.get("/health/ready").status_code == 200)
        with monkeypatch.context() as patch:  # the version is published without a file
            patch.setattr("churnops.registry.store_place.BUNDLE_FILES", ("bundle.json", "reference.npz"))
            second = deploy(elsewhere, bundle, 2)
        check = check_replicas(replicas, second, PATIENCE)  # it ends after two or three seconds
        reason = f"refuses it: bundle {store.address}/versions/{second} is refused: estimator.npz is missing"
        assert (check.status, check.reason.partition(" ")[2]) == ("failed", reason)
        assert client.get("/model").json()["deployment"] == first
        with elsewhere.locked():
            elsewhere.rollback(None, "damaged")
        assert check_replicas(replicas, first, PATIENCE).status == "passed"
    (settings.path("copy/versions") / first / "estimator.npz").write_bytes(b"damaged on the disk")
    with client_of(settings) as client:
        wait_for("the copy is made again", lambda: client.get("/health/ready").status_code == 200)
