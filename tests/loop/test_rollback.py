"""Promoting through the gate, going back and the history, as they are typed while the service answers."""

import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from churnops.api.customers import CustomerForm
from churnops.cli import main
from churnops.journal import DeploymentLog, open_database
from churnops.journal.decisions import DecisionLog, RecordedDecision
from churnops.model import Bundle
from churnops.model.trees import TreeEnsemble
from churnops.pipelines.run_all import RunSummary
from churnops.registry import DeploymentFolder
from churnops.registry.folder import who
from churnops.registry.place import Place
from churnops.registry.trained_on import load_trained_on, save_trained_on
from churnops.settings import Settings
from churnops.tracking import Tracker
from churnops.tracking.models import log_bundle
from tests.support.deployments import aliases, copy, history, opened_registry
from tests.support.processes import run, wait_for
from tests.support.serving import Server

DOWN = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


@dataclass(frozen=True)
class Trained:
    """A project with version 1 deployed, and version 2, wrong for nearly all customers, registered."""

    folder: Path
    good: Bundle
    wrong: Bundle


@pytest.fixture(scope="module")
def trained_models(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Trained:
    settings = copy(project[0].root, tmp_path_factory.mktemp("rollback") / "project")
    models, tracker = settings.path("models"), Tracker(settings)
    tree = project[1].trained.models["decision_tree"].bundle
    assert isinstance(tree.estimator, TreeEnsemble)
    wrong = replace(tree, estimator=replace(tree.estimator, value=1.0 - tree.estimator.value))
    with opened_registry(settings) as registry:
        good = registry.deployed.production()
        assert good is not None
        run = tracker.client.create_run(tracker.experiment("A test")).info.run_id
        assert registry.register(wrong, log_bundle(wrong, run), run) == 2
        registry.make_challenger(2)
        trained_on = load_trained_on(models, good.content_sha256)
        assert trained_on is not None
        save_trained_on(models, wrong.content_sha256, trained_on)
    return Trained(settings.root, good, wrong)


@pytest.fixture
def settings(tmp_path: Path, trained_models: Trained) -> Settings:
    return copy(trained_models.folder, tmp_path / "project")


@pytest.fixture
def typed(settings: Settings) -> Callable[..., Result]:
    """Type a command in the project."""

    def run(*command: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["--config", str(settings.path("config.yaml")), *command])
        assert result.exit_code == code, result.output
        if code == 2:
            assert "Traceback" not in result.output
        return result

    return run


def decisions(settings: Settings) -> list[RecordedDecision]:
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        return DecisionLog(engine).newest(10, subject="deploy")
    finally:
        engine.dispose()


@pytest.fixture
def opened(settings: Settings) -> Iterator[DeploymentFolder]:
    """The deployment folder of a process that has no MLflow: what it deploys stays open."""
    engine = open_database(settings.database_url(settings.journal.url))
    yield DeploymentFolder(Place(settings.path("models")), DeploymentLog(engine), None)
    engine.dispose()


def test_a_worse_model_needs_force_and_one_command_rolls_it_back(
    settings: Settings, typed: Callable[..., Result], trained_models: Trained
):
    good, wrong = trained_models.good, trained_models.wrong
    form = CustomerForm(good.schema)
    body = json.dumps(form.example(good.probes, 0)).encode()
    one_customer = {name: values[:1] for name, values in good.probes.items()}

    with Server(settings) as server:

        def answers(bundle: Bundle) -> None:
            probability = float(bundle.explain(one_customer).prediction.probability[0])

            def asked() -> bool:
                answer = server.ask("POST", "/predict", body).json()
                return (answer["model_version"], answer["churn_probability"]) == (bundle.version_name, probability)

            wait_for(f"{bundle.version_name} answers", asked)

        answers(good)
        refused = typed("promote", "2", "--reason", "try it", code=2)
        assert re.search(r"gate.*keep", refused.stdout)
        assert re.search(r"^error: version 2 is not deployed: .*; --force deploys it anyway$", refused.stderr)
        assert [d.version for d in history(settings)] == [1]
        assert aliases(settings) == {"production": 1, "challenger": 2}
        answers(good)

        forced = json.loads(typed("promote", "2", "--reason", "I know better", "--force", "--json").stdout)
        assert (forced["status"], forced["model_version"]) == ("deployed", wrong.version_name)
        assert forced["gate"]["verdict"] == "keep"
        assert forced["reason"].startswith("I know better; deployed against the gate: ")
        assert aliases(settings) == {"production": 2, "previous": 1}
        answers(wrong)

        back = typed("rollback", "--reason", "complaints since noon")
        assert back.stdout.startswith(f"Rolled back: version 1 ({good.version_name}) is deployed again")
        assert f"back to {good.version_name}" in back.stderr  # the alert
        assert aliases(settings) == {"production": 1, "previous": 2}
        answers(good)

        forward = json.loads(typed("rollback", "--to", "2", "--json").stdout)
        assert (forward["version"], forward["reason"], forward["warning"]) == (2, "no reason given", None)
        answers(wrong)

        agreed = typed("promote", "1", "--reason", "the old one was better")
        assert re.search(r"gate.*deploy", agreed.stdout)
        assert "is deployed" in agreed.stderr  # the alert
        answers(good)
        assert typed("promote", "1", "--reason", "again").stdout.startswith("Nothing changed, version 1 ")

    kept = decisions(settings)
    assert [d.verdict for d in kept] == ["deploy", "keep", "keep"]
    assert [d.challenger for d in kept] == [good.content_sha256, wrong.content_sha256, wrong.content_sha256]

    document = json.loads(typed("models", "--json").stdout)
    spells = document["history"]
    kinds = [(1, "deploy"), (2, "deploy"), (1, "rollback"), (2, "rollback"), (1, "deploy")]
    assert [(s["version"], s["kind"]) for s in spells] == kinds
    assert {s["by"] for s in spells} == {who()}
    assert [s["until"] for s in spells] == [*(s["since"] for s in spells[1:]), None]
    assert spells[2]["reason"] == "complaints since noon"
    assert spells[4]["reason"].startswith("the old one was better; the gate agrees: ")
    shown = typed("models").stdout
    assert "Deployments (UTC)" in shown
    assert f"version 1 restored by {who()}: complaints since noon\n" in shown


def test_a_reason_is_text_and_never_markup_or_a_control_character(settings: Settings, typed: Callable[..., Result]):
    typed("promote", "2", "--reason", "[red]loud[/red] \x1b[2J\u202eback [/nothing]", "--force")
    shown = typed("models").stdout
    assert "[red]loud[/red]" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_an_impossible_command_is_one_line_and_changes_nothing(
    settings: Settings, typed: Callable[..., Result], trained_models: Trained
):
    def error(*command: str) -> str:
        result = typed(*command, code=2)
        assert len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr

    assert "version 1 was the first deployed version" in error("rollback")
    assert "version 2 was never deployed, so there is no rollback to it: `churnops promote 2`" in error(
        "rollback", "--to", "2"
    )
    assert "version 9 is not registered; the newest are 2, 1" in error("promote", "9", "--reason", "x")
    assert "the reason is empty" in typed("promote", "2", "--reason", " ", code=2).stderr
    file = settings.path("models/production/estimator.npz")
    file.write_bytes(file.read_bytes()[:-1])
    assert "; --force replaces it without asking the gate" in error("promote", "2", "--reason", "x")
    assert [d.version for d in history(settings)] == [1]
    typed("promote", "2", "--reason", "the other one is damaged", "--force")
    assert "was changed" in error("rollback")
    assert "`churnops promote 1` deploys it again" in error("rollback", "--to", "1")
    assert aliases(settings)["production"] == 2
    typed("promote", "1", "--reason", "from MLflow's copy", "--force")
    assert settings.path("models/production").readlink().name.endswith("-v1")


def test_a_damaged_copy_in_mlflow_is_refused(settings: Settings, typed: Callable[..., Result], trained_models: Trained):
    files = [
        path
        for path in trained_models.folder.glob("mlartifacts/**/estimator.npz")
        if Bundle.load(path.parent).content_sha256 == trained_models.wrong.content_sha256
    ]
    whole = [path.read_bytes() for path in files]
    try:
        for path in files:
            path.write_bytes(b"damaged")
        refused = typed("promote", "2", "--reason", "x", "--force", code=2)
        assert re.search(r"^error: version 2 in MLflow .* is refused: estimator.npz was changed", refused.stderr)
    finally:
        for path, data in zip(files, whole, strict=True):
            path.write_bytes(data)
    assert len(files) == 1
    assert [d.version for d in history(settings)] == [1]


def test_a_check_that_cannot_run_is_reported_and_undoes_nothing(
    typed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CHURNOPS_RETRAINING__CHECK_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CHURNOPS_RETRAINING__CHECK_SECONDS", "1")
    said = json.loads(typed("promote", "2", "--reason", "a test", "--force", "--json").stdout)
    assert said["status"] == "deployed"
    assert "127.0.0.1:9" in said["warning"]


def test_rollback_needs_no_mlflow_and_the_next_service_sets_aliases(
    settings: Settings, typed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    typed("promote", "2", "--reason", "x", "--force")
    with monkeypatch.context() as patch:
        for name, value in DOWN.items():
            patch.setenv(name, value)
        done = json.loads(typed("rollback", "--to", "1", "--json").stdout)
        assert done["version"] == 1
        assert "MLflow's aliases do not name the deployed model yet: the MLflow store http://127" in done["warning"]
        assert settings.path("models/production").readlink().name.endswith("-v1")
        assert history(settings)[-1].closed is None
        assert len(done["warning"].splitlines()) == 1

        with Server(settings) as server:  # which is not kept from serving
            wait_for("it answers", lambda: server.get("/health/ready").status == 200)
            line = wait_for("it says so", lambda: re.findall("^churnops: .*", server.log(), re.MULTILINE))
        assert "MLflow's aliases do not name the deployed model yet" in line[0]
    with Server(settings) as server:
        wait_for("the log is closed", lambda: history(settings)[-1].closed == "done")
        wait_for(
            "it says so", lambda: re.search(r"the rollback of version 1 \(.*, is done: it is deployed", server.log())
        )
    assert aliases(settings) == {"production": 1, "previous": 2}


def test_an_odd_answer_of_the_store_stops_no_rollback(settings: Settings, typed: Callable[..., Result]):
    typed("promote", "2", "--reason", "x", "--force")
    with closing(sqlite3.connect(settings.root / "mlflow.db")) as store:
        store.execute("UPDATE model_versions SET creation_time = 1000000000000000000")
        store.commit()
    done = json.loads(typed("rollback", "--json").stdout)
    assert done["version"] == 1
    assert "the answer of the model registry cannot be read" in done["warning"]
    assert len(done["warning"].splitlines()) == 1


def test_a_starting_service_leaves_a_deployment_under_way_alone(
    settings: Settings, opened: DeploymentFolder, trained_models: Trained
):
    with opened.locked():
        opened.deploy(trained_models.wrong, 2, "under way")
        with Server(settings) as server:
            ready = wait_for("it answers", lambda: (a := server.get("/health/ready")).status == 200 and a.json())
            assert ready["model_version"] == trained_models.wrong.version_name
            assert [d.closed for d in opened.log.history()] == ["done", None]
        assert [d.closed for d in opened.log.history()] == ["done", None]
    done = run(sys.executable, "-m", "churnops.pipelines.recovery", cwd=settings.root)
    assert re.fullmatch(
        r"churnops: the deployment of version 2 \(.*\), begun at .* is done: it is deployed\n", done.stdout
    )
    assert aliases(settings) == {"production": 2, "previous": 1}
