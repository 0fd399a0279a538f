"""A service follows the models of an object store, and answers while the store is away, slow or damaged."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from churnops.api.customers import CustomerForm
from churnops.journal import open_database
from churnops.journal.replicas import ReplicaStore
from churnops.model import Bundle
from churnops.objects import ObjectStore
from churnops.registry.store_place import StorePlace
from churnops.retraining.follow import check_replicas
from churnops.settings import Settings, load_settings
from churnops.training.train import TrainedModels
from tests.support.load import Recomputed
from tests.support.object_stores import Proxy, StoreServer, faulty_proxy, s3_variables
from tests.support.processes import PATIENCE, wait_for
from tests.support.projects import quick, write_project
from tests.support.serving import Deployer, Server


@pytest.fixture
def in_s3(tmp_path: Path, s3: StoreServer) -> Settings:
    def change(document: dict) -> None:
        quick(document)
        document["registry"]["directory"] = s3.address

    return load_settings(write_project(tmp_path, change))


@pytest.fixture
def proxy(s3: StoreServer) -> Iterator[Proxy]:
    with faulty_proxy(s3.port) as proxy:
        yield proxy


@pytest.fixture
def replica(in_s3: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A service with a copy of its own, which reaches the store only through the proxy."""
    monkeypatch.setenv("CHURNOPS_REGISTRY__COPY_DIRECTORY", "copy-of-the-replica")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_variables(proxy.port)["AWS_ENDPOINT_URL"])
    with Server(in_s3) as server:
        yield server


@pytest.fixture
def deployer(in_s3: Settings) -> Iterator[Deployer]:
    """Deploys on another machine, which reaches the store itself."""
    with Deployer(in_s3, lambda models: StorePlace(ObjectStore(in_s3.registry.directory), models)) as deployer:
        deployer.folder.place.follow()  # type: ignore[attr-defined]
        yield deployer


@pytest.fixture
def store(in_s3: Settings) -> Iterator[ReplicaStore]:
    engine = open_database(in_s3.database_url(in_s3.journal.url))
    yield ReplicaStore(engine)
    engine.dispose()


@pytest.fixture
def bundles(trained: TrainedModels) -> tuple[Bundle, Bundle]:
    return trained.models["decision_tree"].bundle, trained.models["logistic_regression"].bundle


def test_a_service_follows_the_store_and_answers_while_it_is_away(
    deployer: Deployer, bundles: tuple[Bundle, Bundle], replica: Server, proxy: Proxy, store: ReplicaStore
):
    answers = asks(replica, bundles)
    assert replica.get("/health/ready").status == 503
    deployer.deploy(bundles[0])
    wait_for("the first model answers", lambda: replica.get("/health/ready").status == 200)
    assert answers() == bundles[0].version_name
    for number, fault in enumerate(("503", "hang"), 1):
        before = answers()
        proxy.begin(fault)
        seen = len(proxy.requests)
        deployer.deploy(bundles[number % 2])
        wait_for("the service asks the store", lambda seen=seen: len(proxy.requests) > seen)
        if fault == "503":
            wait_for("the failure is in the log", lambda: "the copy of the deployed model is not" in replica.log())
        assert answers() == before
        proxy.begin("")
        wait_for("the service follows", lambda before=before: answers() != before)
        assert answers() == bundles[number % 2].version_name
    assert "hidden-secret" not in replica.log()

    proxy.begin("damage", "/versions/")
    folder = deployer.deploy(bundles[1]).name
    wait_for("the damage is found", lambda: "is refused: " in replica.log())
    assert answers() == bundles[0].version_name
    check = check_replicas(store, folder, PATIENCE)  # it ends long before
    assert check.status == "failed"
    assert f"refuses it: bundle {replica.settings.registry.directory}/versions/{folder} is refused: " in check.reason
    proxy.begin("503")
    replica.kill()
    replica.start()
    wait_for("the copy answers", lambda: replica.get("/health/ready").status == 200)
    assert answers() == bundles[0].version_name
    proxy.begin("")
    wait_for("the service follows", lambda: answers() == bundles[1].version_name)
    # The process that was killed refused the version: its row counts until it is away.
    wait_for("every replica answers with it", lambda: check_replicas(store, folder, PATIENCE).status == "passed")

    replica.kill()
    (replica.settings.path("copy-of-the-replica/versions") / folder / "estimator.npz").write_bytes(
        b"damaged on the disk"
    )
    replica.start()
    wait_for("the copy is made again", lambda: replica.get("/health/ready").status == 200)
    assert answers() == bundles[1].version_name


def asks(server: Server, bundles: tuple[Bundle, Bundle]) -> Callable[[], str]:
    """Return a function that asks the service, checks the answer, and returns the model's version."""
    customers = [CustomerForm(bundles[0].schema).example(bundles[0].probes, row) for row in range(1)]
    recomputed = Recomputed(customers, list(bundles))

    def ask() -> str:
        answer = server.ask("POST", "/predict", json.dumps(customers[0]).encode()).json()
        recomputed.check(0, answer)
        return str(answer["model_version"])

    return ask
