"""The closed loop of the demonstration, smaller: the product's own commands, each in a process of its own."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import churnops.demo.project
from churnops.demo.feeder import Fed
from churnops.demo.loop import run_loop
from churnops.demo.orchestration import orchestrate
from churnops.demo.plan import DAY, DemoPlan
from churnops.demo.project import DemoProject
from churnops.demo.timeline import Event, Timeline, first
from churnops.errors import ChurnopsError
from churnops.journal import DeploymentLog, Journal, open_database
from churnops.journal.decisions import DecisionLog
from churnops.journal.decoding import PackedInputs, decode_inputs
from churnops.model import Bundle
from churnops.registry.trained_on import load_trained_on
from tests.support.processes import start

# Each command is a fork of a server process that has already imported the libraries.
FORKING = SimpleNamespace(
    **{name: getattr(subprocess, name) for name in ("PIPE", "TimeoutExpired")},
    Popen=start,
    run=lambda command, **options: finish(start(command, **options)),
)

SMALLER = {
    "before_seconds": 6,
    "after_seconds": 5,
    "quiet_seconds": 8,
    "patience_seconds": 600,
    "label_horizon_seconds": 4,
    "label_delay_seconds": 0.5,
    "window_seconds": 8,
    "cycle_seconds": 2,
    "slice_customers": 150,
}


class Notes:
    """A screen that keeps what it is shown."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.alerts: list[str] = []
        self.fed = Fed(0, 0, ())

    def step(self, text: str) -> None:
        self.steps.append(text)

    def event(self, event: Event) -> None:
        """The journal has it."""

    def alert(self, title: str, message: str) -> None:
        self.alerts.append(title)

    def state(self, fed: Fed, auc: object, known: int) -> None:
        self.fed = fed


def smaller(drift: float, *, budget: float = 0.005) -> DemoPlan:
    """A short loop. Fewer trials; and with looks at little evidence in quick succession, a small budget for alarms."""
    plan = DemoPlan.read(drift=drift, **SMALLER)
    training = plan.settings["training"] | {"families": ["random_forest"], "trials": {"random_forest": 1, "xgboost": 1}}
    changed = {
        "training": training,
        "monitoring": {"false_alarm_budget": budget},
        "retraining": {"holdout_rows": 250},
    }
    return plan.model_copy(update={"settings": plan.settings | changed})


def finish(process: "subprocess.Popen[bytes]") -> "subprocess.CompletedProcess[bytes]":
    with process:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@pytest.fixture(scope="module", autouse=True)
def forking() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(churnops.demo.project, "subprocess", FORKING)
        yield


@pytest.fixture(scope="module")
def trained_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its first model. Copy it; do not write to it."""
    folder = tmp_path_factory.mktemp("loop") / "project"
    DemoProject(folder, smaller(0.0)).train()
    return folder


@pytest.fixture
def folder(trained_project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_project, tmp_path / "project", symlinks=True))


def when(timeline: Timeline, kind: str, **wanted: object) -> datetime:
    found = first(timeline.events, kind, timeline.changed, **wanted)  # type: ignore[arg-type]
    assert found is not None, (kind, wanted, timeline.events)
    return found.at


def test_drift_raises_an_alert_and_an_equally_good_model_repairs_it(folder: Path):
    notes = Notes()
    timeline = run_loop(folder, smaller(1.0), notes)
    recovery = timeline.recovery
    assert recovery is not None, timeline.events

    # In this order: the change, the alarm, the decision to train again, the gate, the new model, the end of the alarm.
    told = when(timeline, "alert", good=False, subject="performance")
    over = when(timeline, "alert", good=True, subject="performance")
    order = [
        timeline.changed,
        told,
        when(timeline, "retrain", subject="yes"),
        when(timeline, "gate", subject="deploy"),
        when(timeline, "deployment"),
        recovery.at,
        over,
    ]
    assert order == sorted(order)
    assert any("[critical]" in title for title in notes.alerts)
    assert any("is deployed" in title for title in notes.alerts)
    assert "[recovered] churnops: performance" in notes.alerts

    # It did help, on customers who came after it, and nobody was turned away on the way.
    assert recovery.meanwhile.value < 0.81 < recovery.after.value
    assert recovery.after.value > recovery.meanwhile.value + 0.05
    assert recovery.measured >= 300
    assert 0 < recovery.customers < timeline.customers
    assert timeline.customers >= notes.fed.sent  # as of the last look
    assert {found.model for found in timeline.slices} >= {notes.fed.models[0], recovery.model}

    summaries = [json.loads(path.read_text()) for path in sorted(folder.glob("monitoring/retraining_summary_*.json"))]
    deployed = {summary["challenger"]: summary for summary in summaries if summary["status"] == "deployed"}
    assert deployed[recovery.model]["cause"] == "monitoring"
    assert_nobody_was_trained_on(folder, recovery.model, recovery.at)


def test_simulated_customers_cause_retraining_only_in_demonstrations(folder: Path):
    project = DemoProject(folder, smaller(0.0))
    assert project.settings.demonstration
    found = orchestrate(project, rows=1500, concept=0.7, seed=7)
    assert found.report["simulated"] is True
    assert found.report["recommend_retraining"]["value"] is True
    assert "outcomes permuted (70% of the known outcomes)" in found.simulated
    (summary,) = folder.glob("monitoring/retraining_summary_*.json")  # it was trained again, and the gate decided
    document = json.loads(summary.read_text())
    assert document["status"] in ("kept", "cannot tell", "deployed")
    assert found.retraining.startswith(document["status"])
    assert any(line.startswith("retraining: ") for line in found.lines())

    config = folder / "config.yaml"  # anywhere else the same file only makes a report
    config.write_text(config.read_text().replace("demonstration: true", "demonstration: false"))
    refused = ("monitor", "--batch", str(found.batch), "--act", "--source", "simulated", "--json")
    try:
        retraining = json.loads(project.answer("again", *refused))["retraining"]
    except ChurnopsError:
        retraining = "refused"
    assert not retraining.startswith(("kept", "cannot tell", "deployed"))
    assert len(list(folder.glob("monitoring/retraining_summary_*.json"))) == 1


def assert_nobody_was_trained_on(folder: Path, model: str, since: datetime) -> None:
    """No customer of the new model after its first answer is a training row of this or the first model."""
    project = DemoProject(folder, smaller(1.0))
    settings = project.settings
    models = settings.path("models")
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        horizon = timedelta(seconds=settings.journal.label_horizon * DAY)
        now = datetime.now(UTC)
        answered = [one.row for one in Journal(engine, label_horizon=horizon).resolved(since, now, now)]
        found = [row for row in answered if row.layout.model_version == model and row.at > since]
        history = DeploymentLog(engine).history()
        yes = DecisionLog(engine).newest(10, subject="deploy")
    finally:
        engine.dispose()
    bundles = [Bundle.load(models / "versions" / deployment.folder) for deployment in history]
    place = next(place for place, bundle in enumerate(bundles) if bundle.version_name == model)
    columns = decode_inputs(PackedInputs.of(found), bundles[place].schema)
    ids = [row.customer_id for row in found]
    assert len(set(ids)) == len(ids) > 300
    assert bundles[place].content_sha256 in {decision.challenger for decision in yes}
    for deployment in history[: place + 1]:  # a later model may have learned from them
        identities = load_trained_on(models, deployment.content_sha256)
        assert identities is not None
        assert identities.nameless.size > 2000  # the original table
        assert not identities.holds(columns, ids).any()
    assert np.isfinite([row.churn_probability for row in found]).all()


def test_without_drift_no_alert_is_sent_and_no_model_deployed(folder: Path):
    notes = Notes()
    timeline = run_loop(folder, smaller(0.0, budget=1e-6), notes)  # the customers of a look depend on the machine
    cycles = [event for event in timeline.events if event.kind == "cycle" and event.at > timeline.began]
    assert len(cycles) >= 3
    assert all(event.good for event in cycles), cycles
    assert [event for event in timeline.events if event.kind == "alert" and event.at > timeline.began] == []
    assert notes.alerts == []
    assert [event.kind for event in timeline.events if event.kind in ("retrain", "gate")] == []
    assert len([event for event in timeline.events if event.kind == "deployment"]) == 1
    assert timeline.recovery is None
    assert len(notes.fed.models) == 1
    assert not list(folder.glob("monitoring/retraining_summary_*.json"))
    assert sum(found.customers for found in timeline.slices) >= 300
