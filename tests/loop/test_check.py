"""The check of a deployment, through `churnops serve` in a process of its own."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest

from churnops.model import Bundle, Prediction
from churnops.pipelines.run_all import RunSummary
from churnops.retraining.check import check_deployment
from churnops.schema import Columns
from churnops.settings import Settings
from churnops.training.train import TrainedModels
from tests.support.api import make_key, recorded
from tests.support.clocks import Clock
from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.projects import deployed
from tests.support.serving import Deployer, Server

SHORT = 20.0  # seconds of `check_clock`, if the expected answer does not come


class Shifted(Bundle):
    """A model of the same content whose last customer scores a little differently."""

    def predict(self, columns: Columns) -> Prediction:
        found = super().predict(columns)
        scores = found.probability.copy()
        scores[-1] += 1e-8
        return replace(found, probability=scores)


@pytest.fixture
def served_settings(tmp_path: Path, project: tuple[Settings, RunSummary]) -> Settings:
    """A copy of the small project, with its model deployed."""
    return deployed(tmp_path, project[0])


@pytest.fixture
def deployer(served_settings: Settings) -> Iterator[Deployer]:
    with Deployer(served_settings) as deployer:
        yield deployer


def served(settings: Settings) -> Bundle:
    return Bundle.load(settings.path("models/production"))


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def ready(server: Server) -> None:
    wait_for("it is ready", lambda: server.get("/health/ready").status == 200)


def test_each_deployment_is_seen_and_leaves_no_trace(
    served_settings: Settings, deployer: Deployer, trained: TrainedModels
):
    """For every model family: numbers pass through JSON and back unchanged."""
    with Server(served_settings) as server:
        ready(server)
        for model in trained.models.values():
            deployer.deploy(model.bundle)
            found = check_deployment(model.bundle, url(server), seconds=PATIENCE)
            assert (found.status, found.rows) == ("passed", 32), found
            assert model.bundle.version_name in found.reason
        assert server.metric("churnops_predictions_total") == 0
    assert recorded(served_settings) == 0


def test_several_workers_follow(served_settings: Settings, deployer: Deployer, trained: TrainedModels):
    with Server(served_settings, "--workers", "2") as server:
        wait_for("two workers have loaded the model", lambda: server.loaded() == 2)
        for bundle in (trained.refit, *(model.bundle for model in trained.models.values())):
            deployer.deploy(bundle)
            assert check_deployment(bundle, url(server), seconds=PATIENCE).status == "passed"


@pytest.mark.usefixtures("check_clock")
def test_a_service_that_keeps_another_model_fails_the_check(served_settings: Settings, trained: TrainedModels):
    with Server(served_settings) as server:
        ready(server)
        found = check_deployment(trained.refit, url(server), seconds=SHORT)
    assert found.status == "failed"
    assert f"answers with {served(served_settings).version_name}, not with {trained.refit.version_name}" in found.reason


@pytest.mark.usefixtures("check_clock")
def test_a_service_refusing_the_deployed_model_fails_with_the_reason(
    served_settings: Settings, deployer: Deployer, trained: TrainedModels
):
    before = served(served_settings).version_name
    with Server(served_settings) as server:
        ready(server)
        folder = deployer.deploy(trained.refit)
        wait_for("the new one answers", lambda: server.get("/model").json()["model_version"] != before)
        # Such as a disk would: the service has to load it once more.
        (folder / "estimator.npz").write_bytes(b"")
        assert server.ask("POST", "/model/reload").status == 409
        assert check_deployment(trained.refit, url(server), seconds=PATIENCE).status == "passed", (
            "the loaded one answers"
        )
        server.kill()
        server.start()
        wait_for("it refuses the model", lambda: b"is refused" in server.get("/health/ready").body)
        found = check_deployment(trained.refit, url(server), seconds=SHORT)
    assert found.status == "failed"
    assert "(status 503): the deployed model is refused" in found.reason


@pytest.mark.usefixtures("check_clock")
def test_a_damaged_deployment_fails_the_check_and_changes_no_model(
    served_settings: Settings, trained: TrainedModels, tmp_path: Path
):
    before = served(served_settings).version_name
    folder = trained.refit.save(served_settings.path("models/versions/damaged"))
    (folder / "reference.npz").write_bytes(b"")
    with Server(served_settings) as server:
        ready(server)
        (tmp_path / "link").symlink_to(folder)
        (tmp_path / "link").replace(served_settings.path("models/production"))
        wait_for("it refuses the deployment", lambda: server.get("/health/ready").json()["warnings"])
        found = check_deployment(trained.refit, url(server), seconds=SHORT)
    assert found.status == "failed"
    assert f"answers with {before}, not with {trained.refit.version_name}" in found.reason
    assert "the newest deployment is refused: reference.npz was changed" in found.reason


def test_answers_that_differ_from_the_models_fail_the_check_at_once(served_settings: Settings):
    """Small differences as another machine's numeric library may cause."""
    bundle = served(served_settings)
    other = Shifted(**{part.name: getattr(bundle, part.name) for part in fields(bundle)})
    assert other.version_name == bundle.version_name
    with Server(served_settings) as server:
        ready(server)
        assert check_deployment(bundle, url(server), seconds=PATIENCE).status == "passed"
        found = check_deployment(other, url(server), seconds=PATIENCE)
    assert (found.status, found.rows) == ("failed", 32)
    assert "for probe row" in found.reason


def test_a_down_service_is_unreachable_and_one_going_down_fails(
    served_settings: Settings, trained: TrainedModels, check_clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    found = check_deployment(trained.refit, f"http://127.0.0.1:{free_port()}", seconds=SHORT)
    assert (found.status, found.rows) == ("not reached", 0)
    with Server(served_settings) as server:
        ready(server)
        pause = check_clock.sleep  # it dies once it has answered, with the model from before
        monkeypatch.setattr(check_clock, "sleep", lambda seconds: (server.kill(), pause(seconds)))
        found = check_deployment(trained.refit, url(server), seconds=SHORT)
    assert found.status == "failed"
    assert "does not answer" in found.reason


def test_a_service_that_starts_meanwhile_is_waited_for(served_settings: Settings):
    bundle = served(served_settings)
    with Server(served_settings) as server:
        server.kill()
        before = server.port
        starting = threading.Thread(target=server.start)
        starting.start()
        wait_for("it begins to start", lambda: server.port != before)
        assert check_deployment(bundle, url(server), seconds=PATIENCE).status == "passed"
        starting.join()


def test_a_key_is_needed_where_there_are_keys_and_never_shown(served_settings: Settings):
    bundle = served(served_settings)
    allowed, small = (
        make_key(served_settings, "admin", name="check"),
        make_key(served_settings, "predict", name="small"),
    )
    with Server(served_settings) as server:
        ready(server)
        assert check_deployment(bundle, url(server), key=allowed, seconds=PATIENCE).status == "passed"
        for key, status in (("", 401), (allowed[:-1] + "?", 401), (small, 403)):
            found = check_deployment(bundle, url(server), key=key, seconds=PATIENCE)
            assert found.status == "not reached"
            assert (
                f"needs a key with the scope admin in CHURNOPS_RETRAINING__CHECK_KEY (status {status})" in found.reason
            )
            assert not key or key not in str(found)
        assert allowed not in server.log()


def test_a_journal_that_cannot_be_written_is_no_fault_of_the_models(served_settings: Settings):
    with Server(served_settings) as server:
        ready(server)
        with closing(sqlite3.connect(served_settings.path("journal.db"))) as connection:
            connection.execute("DROP TABLE labels")
            connection.execute("DROP TABLE predictions")
            connection.commit()
        wait_for("it is not ready any more", lambda: server.get("/health/ready").status == 503)
        assert check_deployment(served(served_settings), url(server), seconds=PATIENCE).status == "passed"


def test_the_check_respects_a_low_rate_limit(tmp_path: Path, project: tuple[Settings, RunSummary]):
    settings = deployed(tmp_path, project[0], api={"rate_limit": 2})
    with Server(settings) as server:
        ready(server)
        found = check_deployment(served(settings), url(server), seconds=PATIENCE)
        assert '"status":429' in server.log()
    assert found.status == "passed"
    assert found.reason.endswith("5 times")
