"""Two machines that share the models of an object store, in S3 and in Azure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from churnops.journal import DeploymentLog
from churnops.journal.database import open_database
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.objects import ObjectStore
from churnops.registry import DeploymentFolder
from churnops.registry.place import OvertakenError
from churnops.registry.store_place import StorePlace
from churnops.training.train import TrainedModels
from tests.support.deployments import prune
from tests.support.object_stores import StoreServer


@pytest.fixture
def machines(tmp_path: Path, any_store: StoreServer) -> Iterator[list[DeploymentFolder]]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    places = [StorePlace(ObjectStore(any_store.address), tmp_path / name) for name in ("one", "two")]
    yield [DeploymentFolder(place, DeploymentLog(engine), lambda _: None) for place in places]
    engine.dispose()


def test_machines_deploy_in_turn_and_one_of_two_at_once(machines: list[DeploymentFolder], trained: TrainedModels):
    one, two = machines
    bundles: list[Bundle] = [trained.models[name].bundle for name in ("decision_tree", "logistic_regression")]
    with one.locked():
        first = one.deploy(bundles[0], 1, "a test").name
    with two.locked():
        assert two.current() == first
        two.deploy(bundles[1], 2, "a test")
    with one.locked():
        assert require_deployed(one.folder).content_sha256 == bundles[1].content_sha256
        with two.locked():
            assert two.rollback(None, "worse").name == first
        with pytest.raises(OvertakenError, match="another machine has deployed meanwhile"):
            one.deploy(bundles[1], 3, "late")
    assert [d.closed for d in one.log.history()] == ["done", "done", "done", "undone"]
    with one.locked():
        assert one.current() == first
        assert [name[-3:] for name in prune(one, 0)] == ["-v2", "-v3"]
        assert one.place.names() == {first}
