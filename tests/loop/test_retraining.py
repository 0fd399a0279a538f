"""Retraining from end to end: permission, comparison, deployment, and a clean state after every failure."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from churnops.data.read import encode, read_table
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import ChurnopsError, DataError, RegistryError
from churnops.journal import DecisionLog, DeploymentLog, Label, RecordedDecision, new_prediction_id
from churnops.journal.database import open_database
from churnops.journal.deployment_log import Intent
from churnops.journal.labels import write_labels
from churnops.journal.predictions import write_predictions
from churnops.journal.tables import alerts
from churnops.journal.turn import turn
from churnops.model import Bundle
from churnops.pipelines import release, sources
from churnops.pipelines import run_monitoring as monitoring
from churnops.pipelines.promote import promote
from churnops.pipelines.run_all import run_all
from churnops.pipelines.trigger_retraining import RUNNING, trigger_retraining
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.place import Place
from churnops.registry.trained_on import load_trained_on
from churnops.retraining.check import Check
from churnops.retraining.comparison import compare_with_production
from churnops.retraining.pipeline import EXPERIMENT, STEPS
from churnops.retraining.policy import RetrainingTask
from churnops.retraining.summary import RetrainingSummary
from churnops.settings import Settings, load_settings
from churnops.tracking import Tracker
from tests.support.deployments import opened_registry
from tests.support.journals import prediction_row
from tests.support.processes import CHURNOPS, PATIENCE, free_port, run, start
from tests.support.projects import LATER, quick, write_project, write_small_data
from tests.support.serving import Server

DAY = timedelta(days=1)
BILL = sum(
    pl.col(f"Total {part} minutes").cast(pl.Float64) * price
    for part, price in (("day", 0.17), ("eve", 0.085), ("night", 0.045), ("intl", 0.27))
)


def change(document: dict[str, Any]) -> None:
    """Two families for the main job and one for retraining: its fits and tracked models take most of the time."""
    quick(document)
    document["training"]["families"] = ["decision_tree", "xgboost"]
    document["retraining"] |= {"min_new_labels": 200, "families": ["xgboost"]}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the main job has run."""
    folder = tmp_path_factory.mktemp("template")
    write_small_data(folder, 1200)
    run_all(load_settings(write_project(folder, change)))
    return folder


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    """A copy of it, to be written to."""
    shutil.copytree(template, tmp_path / "project", symlinks=True)
    return load_settings(tmp_path / "project/config.yaml")


@pytest.fixture
def reversed_world(tmp_path: Path) -> Path:
    """Later customers for whom the rule is reversed: high bills stay, low bills leave."""
    table = pl.read_csv(LATER, infer_schema_length=0)
    stays = (pl.col("Voice mail plan") == "No") & (BILL > 74)
    leaves = (pl.col("Voice mail plan") == "No") & (BILL < 48)
    churn = pl.when(stays).then(pl.lit("False")).when(leaves).then(pl.lit("True")).otherwise(pl.col("Churn"))
    path = tmp_path / "reversed.csv"
    table.with_columns(churn.alias("Churn")).write_csv(path)
    return path


@contextmanager
def database(settings: Settings) -> Iterator[Any]:
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        yield engine
    finally:
        engine.dispose()


def decisions(settings: Settings) -> list[RecordedDecision]:
    with database(settings) as engine:
        return DecisionLog(engine).newest(100)[::-1]


def production(settings: Settings) -> Bundle:
    return Bundle.load(settings.path("models/production"))


def told(settings: Settings) -> list[str]:
    with database(settings) as engine, engine.connect() as connection:
        return list(connection.execute(select(alerts.c.subject).order_by(alerts.c.id)).scalars())


def observed(settings: Settings, path: Path, *, days_ago: float = 40, labelled: bool = True) -> None:
    """Record predictions for a file's customers, with or without their outcomes."""
    bundle, schema = production(settings), settings.table
    table = check_customers(read_table(path), schema, "t", keep_outcome=True)
    scores = bundle.predict(encode(table, schema)).probability.tolist()
    first = datetime.now(UTC) - days_ago * DAY
    inputs = table.drop(schema.target.name).to_dicts()
    rows = [
        prediction_row(
            id=new_prediction_id(),
            at=first + i * timedelta(seconds=1),
            customer_id=f"c{i}",
            model_version=bundle.version_name,
            content_sha256=bundle.content_sha256,
            churn_probability=score,
            churn_prediction=score >= bundle.threshold,
            base_value=None,
            explanation_scale=None,
            top_shap_features=None,
            inputs=json.dumps(inputs[i]),
            source="api",
        )
        for i, score in enumerate(scores)
    ]
    churned = (table.get_column(schema.target.name) == schema.target.choices[1]).to_list()
    labels = [
        Label(left, prediction_id=row.id, outcome_at=row.at + (1 if left else 30) * DAY)
        for row, left in zip(rows, churned, strict=True)
    ]
    with database(settings) as engine:
        write_predictions(engine, rows)
        with engine.begin() as connection:
            write_labels(connection, labels if labelled else [], datetime.now(UTC))


def part(path: Path, rows: int, churned: str | None = None) -> Path:
    """Keep the first rows of a file, or of those with one outcome."""
    table = pl.read_csv(path, infer_schema_length=0)
    table = table if churned is None else table.filter(pl.col("Churn") == churned)
    table.head(rows).write_csv(path)
    return path


def retrain(settings: Settings, batch: Path | None = None) -> RetrainingSummary:
    return trigger_retraining(settings, RetrainingTask("by hand", ("a test",), batch))[0]


def test_from_a_batch_file_to_a_better_model_in_production(settings: Settings, reversed_world: Path):
    """The monitor looks at a file, recommends, and retrains by itself; everything is written down."""
    before = production(settings)
    both = replace_retraining(settings, families="[random_forest, xgboost]")
    summary = monitoring.run_monitoring(both, sources.file(reversed_world, "weekly"))
    assert summary.cycle.report.recommendation.value
    assert summary.retraining.startswith("deployed: ROC-AUC")
    after = production(settings)
    assert after.content_sha256 != before.content_sha256
    assert after.lineage["champion"] == before.content_sha256

    [path] = settings.path("monitoring").glob("retraining_summary_*.json")
    document = json.loads(path.read_text())
    assert (document["status"], document["cause"]) == ("deployed", "monitoring")
    assert document["because"] == list(summary.cycle.report.recommendation.reasons)
    assert document["champion"] == before.version_name
    assert document["challenger"] == after.version_name
    assert document["decision"]["verdict"] == "deploy"
    assert document["decision"]["low"] > 0
    assert document["rows"] == {
        "original": 1867,
        "production": 1367,
        "chosen_on": 300,
        "held_out": 300,
        "left_out": 0,
    }
    assert len(document["candidates"]) == 6

    asked, decided = decisions(settings)
    assert (asked.subject, asked.verdict) == ("retrain", "yes")
    assert (decided.subject, decided.verdict) == ("deploy", "deploy")
    assert (decided.champion, decided.challenger) == (before.content_sha256, after.content_sha256)
    with opened_registry(settings) as registry:
        aliases = {alias: v.version for v in registry.versions() for alias in v.aliases}
        assert aliases == {"production": 2, "previous": 1}
        deployed = registry.deployed.log.history()[-1]
        assert (deployed.closed, deployed.by, deployed.reason) == ("done", "churnops (monitoring)", decided.reason)
        assert "deployed" in told(settings)
    client = Tracker(settings).client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_name for run in runs}
    assert set(STEPS) <= names
    assert {"random_forest: recent rows", "xgboost: recency-weighted"} <= names
    [parent] = [run for run in runs if "churnops.status" in run.data.tags]
    assert parent.data.tags["churnops.status"] == "deployed"
    assert parent.data.params["champion"] != parent.data.params["challenger"] == after.version_name
    assert parent.data.metrics["challenger_roc_auc"] > parent.data.metrics["champion_roc_auc"]
    assert "The new model is deployed" in parent.data.tags["mlflow.note.content"]
    assert "[version 2](#/models/churn/versions/2)" in parent.data.tags["mlflow.note.content"]
    (source,) = client.list_artifacts(parent.info.run_id, "code")
    assert source.path == "code/churnops.zip"
    assert client.get_model_version("churn", "2").tags.keys() >= {"roc_auc", "training_sha256", "reason"}
    files = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"config.yaml", "decision.json"} <= files
    assert any(name.startswith("retraining_summary_") for name in files)

    # Whom it was trained on is known, and nobody of those it was compared on is among them.
    known = load_trained_on(settings.path("models"), after.content_sha256)
    assert known is not None
    held_out = client.download_artifacts(
        next(r.info.run_id for r in runs if r.info.run_name == STEPS[5]), "test_data.parquet"
    )
    columns = {name: values.to_numpy() for name, values in pl.read_parquet(held_out).to_dict().items()}
    assert not known.holds(columns, [None] * 300).any()
    again = monitoring.run_monitoring(settings, sources.file(reversed_world, "weekly"))
    assert not again.cycle.report.recommendation.value  # the new model is watched against the new world


def test_without_new_labels_no_retraining_runs_and_records_why(settings: Settings):
    summary, path = trigger_retraining(settings, RetrainingTask("monitoring", ("drift",)))
    assert summary.status == "not permitted"
    assert "no customer with a known outcome" in summary.reason
    assert json.loads(path.read_text())["permission"]["value"] is False
    [decision] = decisions(settings)
    assert (decision.subject, decision.verdict, decision.reason) == ("retrain", "no", summary.reason)
    assert decision.details["because"] == ["drift"]
    done = run(CHURNOPS, "retrain", cwd=settings.root, code=2)
    assert "Not permitted" in done.stdout


def test_rows_of_the_journal_are_learned_from(settings: Settings, reversed_world: Path):
    observed(settings, reversed_world)
    summary = retrain(settings)
    assert summary.status == "deployed"
    assert summary.retrained is not None
    assert summary.retrained.rows["production"] + summary.retrained.rows["held_out"] == 1667
    # The customers it was compared on are new to it, but no new reason to compare.
    automatic, _ = trigger_retraining(settings, RetrainingTask("monitoring"))
    assert automatic.status == "not permitted"
    assert "0 customers with known outcomes are new since the last comparison" in automatic.reason


def test_a_cooldown_counts_from_the_deployment_log(settings: Settings, reversed_world: Path):
    observed(settings, reversed_world)
    waiting = replace_retraining(settings, retraining_cooldown_days=1)
    summary, _ = trigger_retraining(waiting, RetrainingTask("monitoring"))
    assert summary.status == "not permitted"
    assert "the cooldown is 1 days" in summary.reason


def test_a_model_that_is_not_better_waits_as_challenger(settings: Settings):
    before = production(settings)
    strict = replace_retraining(settings, min_improvement=0.05)
    summary = retrain(strict, LATER)
    assert summary.status in ("kept", "cannot tell")
    assert production(settings).content_sha256 == before.content_sha256
    with opened_registry(settings) as registry:
        aliases = {alias: v.version for v in registry.versions() for alias in v.aliases}
    assert aliases == {"production": 1, "challenger": 2}
    # Comparing again on the same labels would be a second chance for the same model.
    again, _ = trigger_retraining(strict, RetrainingTask("monitoring", batch=LATER))
    assert again.status == "not permitted"
    assert "0 customers with known outcomes are new since the last comparison" in again.reason


def test_a_model_with_a_new_leak_is_not_deployed(settings: Settings, tmp_path: Path):
    table = pl.read_csv(LATER, infer_schema_length=0)
    calls = pl.when(pl.col("Churn") == "True").then(pl.lit("9")).otherwise(pl.lit("0"))
    table.with_columns(calls.alias("Customer service calls")).write_csv(tmp_path / "leaking.csv")
    before = production(settings).content_sha256
    summary = retrain(settings, tmp_path / "leaking.csv")
    assert summary.status == "kept"
    assert "('Customer service calls') alone predicts the outcome with a ROC-AUC of 1.0000" in summary.reason
    assert production(settings).content_sha256 == before
    assert summary.version is not None
    assert promote(settings, summary.version, "a try", force=True).status == "refused"
    accepted = promote(settings, summary.version, "known", force=True, accept_leak=["customer_service_calls"])
    assert accepted.status == "deployed"
    assert production(settings).lineage["accepted_leaks"] == ["customer_service_calls"]


def test_after_a_comparison_only_other_customers_count_as_new(settings: Settings, tmp_path: Path):
    table, files = pl.read_csv(LATER, infer_schema_length=0), (tmp_path / "may.csv", tmp_path / "june.csv")
    for path, rows in zip(files, (table[:600], table[600:1200]), strict=True):
        rows.write_csv(path)
    strict = replace_retraining(settings, min_improvement=0.5)
    found = [
        trigger_retraining(strict, RetrainingTask("monitoring", batch=path))[0].status for path in (*files, *files)
    ]
    assert found == ["kept", "kept", "not permitted", "not permitted"]
    # Nor do files stand in the way of what the journal shows.
    observed(settings, LATER)
    assert trigger_retraining(strict, RetrainingTask("monitoring"))[0].status == "kept"


def test_unlabelled_predictions_do_not_block_retraining_on_a_file(settings: Settings):
    observed(settings, LATER, labelled=False)
    assert retrain(settings, LATER).status in ("kept", "cannot tell")


def test_an_empty_cell_does_not_make_unlabelled_customers_count(settings: Settings, tmp_path: Path):
    table, path = pl.read_csv(LATER, infer_schema_length=0), tmp_path / "unlabelled.csv"
    row = pl.int_range(pl.len())
    changed = (
        pl.when(row < 3).then("Churn").alias("Churn"),
        pl.when(row > 0).then("Account length").alias("Account length"),
    )
    table.with_columns(changed).write_csv(path)
    summary = retrain(settings, path)
    assert summary.status == "not permitted"
    assert "3 " in summary.reason


def test_a_large_file_does_not_replace_outcomes_missing_elsewhere(settings: Settings, tmp_path: Path):
    """If only customers who left are reported, a whole file must not replace the missing outcomes."""
    table = pl.read_csv(LATER, infer_schema_length=0)
    table[:200].write_csv(tmp_path / "silent.csv")
    observed(settings, tmp_path / "silent.csv", labelled=False)
    table[200:400].filter(pl.col("Churn") == "True").write_csv(tmp_path / "left.csv")
    observed(settings, tmp_path / "left.csv")
    table[400:].write_csv(tmp_path / "everybody.csv")
    summary = retrain(settings, tmp_path / "everybody.csv")
    assert summary.status == "not permitted"
    assert "80% are needed" in summary.reason


def test_retraining_goes_on_after_a_version_was_forced_past_the_gate(settings: Settings, reversed_world: Path):
    assert retrain(settings, reversed_world).status == "deployed"
    trained_on = settings.path("models/trained_on") / f"{production(settings).content_sha256}.npz"
    trained_on.write_bytes(b"damaged")
    with pytest.raises(RegistryError, match="is damaged"):
        promote(settings, 1, "the old world is back")
    assert promote(settings, 1, "the old world is back", force=True).status == "deployed"
    assert retrain(settings, reversed_world).status == "deployed"


def test_after_cannot_tell_more_customers_are_held_out_next_time(settings: Settings, reversed_world: Path):
    before, details = production(settings), {"labels_needed": 400}
    unsure = RecordedDecision(datetime.now(UTC), "deploy", "cannot tell", "few", before.content_sha256, "0", details)
    with Project.open(settings) as project:
        project.decisions.record(unsure)
    summary = retrain(settings, reversed_world)
    assert summary.retrained is not None
    assert summary.retrained.rows["held_out"] == 400


def test_a_bad_batch_stops_with_every_failure_and_changes_nothing(settings: Settings, tmp_path: Path):
    table = pl.read_csv(LATER, infer_schema_length=0)
    bad = tmp_path / "bad.csv"
    table.with_columns(pl.lit("-1").alias("Total day minutes"), pl.lit("maybe").alias("Voice mail plan")).write_csv(bad)
    before = everything(settings)
    with pytest.raises(ValidationError) as raised:
        retrain(settings, bad)
    assert len(raised.value.failures) == 2
    [path] = settings.path("monitoring").glob("retraining_summary_*.json")
    document = json.loads(path.read_text())
    assert document["status"] == "failed"
    assert len(document["failures"]) == 2
    assert everything(settings) == before
    assert told(settings)[-1] == "retraining_failed"
    done = run(CHURNOPS, "retrain", "--batch", str(bad), cwd=settings.root, code=2)
    assert "Total day minutes" in done.stderr
    assert "Voice mail plan" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_retraining_alerts_and_leaves_production_unchanged(settings: Settings):
    shutil.rmtree(settings.path("data/raw"))
    before = everything(settings)
    with pytest.raises(DataError, match="data/raw does not exist"):
        retrain(settings, LATER)
    assert everything(settings) == before
    assert told(settings)[-1] == "retraining_failed"


def test_a_missing_file_is_an_error_without_an_alert(settings: Settings, tmp_path: Path):
    with pytest.raises(DataError, match=r"may\.csv does not exist"):
        retrain(settings, tmp_path / "may.csv")
    assert "retraining_failed" not in told(settings)


def test_an_unopenable_tracking_store_is_alerted_and_recorded(settings: Settings):
    settings.path("mlflow.db").write_bytes(b"no database" * 400)
    with pytest.raises(ChurnopsError, match="cannot be opened"):
        retrain(settings, LATER)
    assert told(settings)[-1] == "retraining_failed"
    [path] = settings.path("monitoring").glob("retraining_summary_*.json")
    assert json.loads(path.read_text())["status"] == "failed"


def after_the_link_moved(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    swap = Place.swap

    def swapped(place: Place, intent: Intent) -> None:
        swap(place, intent)
        then()

    monkeypatch.setattr(Place, "swap", swapped)


def test_losing_the_tracking_store_in_deployment_is_no_failure(
    settings: Settings, reversed_world: Path, monkeypatch: pytest.MonkeyPatch
):
    before = production(settings)
    after_the_link_moved(monkeypatch, lambda: settings.path("mlflow.db").unlink())
    summary = retrain(settings, reversed_world)
    assert summary.status == "deployed"
    assert summary.warning is not None
    assert "MLflow lacks the end of this run" in summary.warning
    assert production(settings).content_sha256 != before.content_sha256
    assert told(settings)[-1] == "deployed"


def test_an_unwritable_summary_after_the_link_moved_is_a_warning(
    settings: Settings, reversed_world: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    before = settings.path("models/production").resolve()
    after_the_link_moved(monkeypatch, lambda: settings.path("monitoring").rename(settings.path("elsewhere")))
    after_the_link_moved(monkeypatch, lambda: settings.path("monitoring").write_text("in the way of the summary"))
    summary, path = trigger_retraining(settings, RetrainingTask("by hand", ("a test",), reversed_world))
    assert (summary.status, path) == ("deployed", None)
    assert "the summary is not written: " in (summary.warning or "")
    assert settings.path("models/production").resolve() != before
    assert "A retraining failed" not in capfd.readouterr().err


def test_a_defect_after_the_link_moved_is_a_warning_in_the_summary(
    settings: Settings, reversed_world: Path, monkeypatch: pytest.MonkeyPatch
):
    def defect() -> None:
        raise ZeroDivisionError

    after_the_link_moved(monkeypatch, defect)
    retrain(settings, reversed_world)
    (summary,) = settings.path("monitoring").glob("retraining_summary_*.json")
    after = settings.path("models/production").readlink().name
    said = json.loads(summary.read_text())
    assert said["status"] == "deployed"
    assert said["warning"].startswith(f"{after} is deployed, but its log entry is open: a defect: ZeroDivisionError")


def test_the_order_of_files_and_rows_does_not_matter(settings: Settings, reversed_world: Path, tmp_path: Path):
    shutil.copytree(settings.root, tmp_path / "turned", symlinks=True)
    turned = load_settings(tmp_path / "turned/config.yaml")
    raw = turned.path("data/raw")
    (raw / "churn-80.csv").rename(raw / "z.csv")
    for path in raw.iterdir():
        header, *rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join([header, *reversed(rows)]))
    header, *rows = reversed_world.read_text().splitlines(keepends=True)
    (tmp_path / "turned.csv").write_text("".join([header, *reversed(rows)]))
    one, other = retrain(settings, reversed_world), retrain(turned, tmp_path / "turned.csv")
    assert one.retrained is not None
    assert other.retrained is not None
    assert one.retrained.challenger.content_sha256 == other.retrained.challenger.content_sha256
    assert one.retrained.decision == other.retrained.decision


def test_of_two_retrainings_at_once_one_runs_and_one_gives_a_reason(settings: Settings, reversed_world: Path):
    command = [CHURNOPS, "retrain", "--batch", str(reversed_world), "--json"]
    processes = [
        start(command, cwd=settings.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    documents = [json.loads(out) for out, _ in outputs]
    assert sorted(process.returncode for process in processes) == [0, 2], outputs
    assert sorted(document["status"] for document in documents) == ["deployed", "not permitted"]
    [refused] = [document for document in documents if document["status"] == "not permitted"]
    assert refused["reason"] == RUNNING
    with database(settings) as engine:
        assert [d.closed for d in DeploymentLog(engine).history()] == ["done", "done"]


def test_monitoring_finishes_while_another_retraining_runs(settings: Settings, reversed_world: Path):
    with database(settings) as engine, turn(engine, "retraining of churn", settings.path("models/.retraining")) as mine:
        assert mine
        summary = monitoring.run_monitoring(settings, sources.file(reversed_world, "weekly"))
    assert summary.retraining.startswith(f"not permitted: {RUNNING}")


def test_a_model_deployed_meanwhile_is_not_replaced(
    settings: Settings, reversed_world: Path, monkeypatch: pytest.MonkeyPatch
):
    """A comparison with an earlier model does not describe the deployed model."""
    other = replace(production(settings), threshold=0.4)
    register = Registry.register

    def while_it_is_registered(registry: Registry, *arguments: Any) -> int:
        version = register(registry, *arguments)
        with registry.deployed.locked():
            registry.deployed.deploy(other, 99, "by somebody else")
        return version

    monkeypatch.setattr(Registry, "register", while_it_is_registered)
    summary = retrain(settings, reversed_world)
    assert summary.status == "kept"
    assert "another model was deployed meanwhile" in summary.reason
    assert production(settings).content_sha256 == other.content_sha256


def test_a_champion_whose_training_is_unknown_is_not_compared(settings: Settings):
    shutil.rmtree(settings.path("models/trained_on"))
    with pytest.raises(RegistryError, match=r"the training rows of .* are not known"):
        retrain(settings, LATER)


def test_the_schedule_retrains_an_old_model(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    scheduled = replace_retraining(settings, every_days=0.000012)
    called: list[str] = []

    def note(_settings: Settings, request: RetrainingTask) -> str:
        called.append(request.cause)
        return "retrained"

    monitoring.run_monitoring(scheduled, sources.window(), retrain=note)
    monitoring.run_monitoring(scheduled, sources.window(), retrain=note, permitted=False)
    monitoring.run_monitoring(scheduled, sources.simulation(), retrain=note)
    monitoring.run_monitoring(settings, sources.window(), retrain=note)
    assert called == ["schedule"]


def test_the_main_job_replaces_a_model_only_through_the_gate(settings: Settings, reversed_world: Path):
    """A winner that differs is compared on later customers; where nothing is proven it waits, unless it is forced."""
    other = load_settings(settings.root / "config.yaml", {"CHURNOPS_RANDOM_STATE": "7"})
    before = production(settings)
    first = run_all(other).deployed
    assert first.status == "challenger"
    assert first.decision is not None
    assert not first.decision.deploy
    assert first.reason == first.decision.reason
    assert production(settings).content_sha256 == before.content_sha256
    assert decisions(settings)[-1].verdict == first.decision.verdict
    # In a world that turned, the same job on new raw tables wins.
    raw = settings.path("data/raw")
    for path in raw.iterdir():
        path.unlink()
    table = pl.read_csv(reversed_world, infer_schema_length=0)
    table[:900].write_csv(raw / "new.csv")
    table[900:].write_csv(settings.path("data/production") / LATER.name)
    second = run_all(settings).deployed
    assert second.status == "deployed"
    assert second.decision is not None
    assert second.decision.gain is not None
    assert second.decision.gain > 0.1
    assert run_all(other, deploy=True).deployed.decision is None


def replace_retraining(settings: Settings, **changes: float | str) -> Settings:
    variables = {f"CHURNOPS_RETRAINING__{name.upper()}": str(value) for name, value in changes.items()}
    return load_settings(settings.root / "config.yaml", variables)


def everything(settings: Settings) -> dict[str, Any]:
    """The files and rows that decide which model is deployed."""
    folder = settings.path("models")
    with opened_registry(settings) as registry:
        versions = [(v.version, v.aliases) for v in registry.versions()]
        history = registry.deployed.log.history()
    return {
        "link": (folder / "production").readlink(),
        "folders": sorted(path.name for path in (folder / "versions").iterdir()),
        "versions": versions,
        "history": history,
    }


@pytest.mark.usefixtures("check_clock")
def test_a_deployment_the_running_api_does_not_follow_is_rolled_back(
    settings: Settings, reversed_world: Path, tmp_path: Path
):
    """The address leads to a service with other models: the check fails, and the earlier model is deployed again."""
    shutil.copytree(settings.root, tmp_path / "elsewhere", symlinks=True)
    before = production(settings)
    with Server(load_settings(tmp_path / "elsewhere/config.yaml")) as server:
        checked = replace_retraining(settings, check_url=f"http://127.0.0.1:{server.port}", check_seconds=20)
        summary = retrain(checked, reversed_world)
    assert summary.status == "rolled back"
    assert summary.check is not None
    assert summary.check.status == "failed"
    assert production(settings).content_sha256 == before.content_sha256
    with database(settings) as engine:
        kinds = [(d.kind, d.closed) for d in DeploymentLog(engine).history()]
    assert kinds == [("deploy", "done"), ("deploy", "done"), ("rollback", "done")]
    assert told(settings)[-1] == "rolled_back"


def test_a_deployment_that_a_replica_refuses_is_rolled_back(
    settings: Settings, reversed_world: Path, monkeypatch: pytest.MonkeyPatch
):
    """Even if the address leads to no service."""
    before, reason = production(settings), "api-2 0.0.0.0:8000 refuses it: its hash differs"
    monkeypatch.setattr(release, "check_replicas", lambda *_: Check("failed", reason, 0, 0.1))
    summary = retrain(replace_retraining(settings, check_url=f"http://127.0.0.1:{free_port()}"), reversed_world)
    assert (summary.status, summary.check.reason if summary.check else "") == ("rolled back", reason)
    assert production(settings).content_sha256 == before.content_sha256


@pytest.mark.usefixtures("check_clock")
def test_a_failed_check_is_critical_if_the_earlier_model_is_damaged(
    settings: Settings,
    reversed_world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    shutil.copytree(settings.root, tmp_path / "elsewhere", symlinks=True)
    before = settings.path("models/production").resolve()
    after_the_link_moved(monkeypatch, (before / "bundle.json").unlink)
    with Server(load_settings(tmp_path / "elsewhere/config.yaml")) as server:
        checked = replace_retraining(settings, check_url=f"http://127.0.0.1:{server.port}", check_seconds=20)
        with pytest.raises(RegistryError, match="the rollback failed") as caught:
            retrain(checked, reversed_world)
    after = settings.path("models/production").resolve()
    assert after != before
    assert told(settings)[-2:] == ["deployed", "retraining_failed"]
    said = capfd.readouterr().err
    assert f"[critical] churnops: {production(settings).version_name} is deployed" in said
    (note,) = caught.value.__notes__
    assert note.startswith(f"{after.name} is deployed now; {before.name} was deployed before")


def test_a_deployment_is_checked_through_the_running_api(settings: Settings, reversed_world: Path):
    with Server(settings) as server:
        checked = replace_retraining(settings, check_url=f"http://127.0.0.1:{server.port}")
        summary = retrain(checked, reversed_world)
    assert summary.status == "deployed"
    assert summary.check is not None
    assert (summary.check.status, summary.check.rows) == ("passed", 32)


def test_the_gate_names_the_threshold_if_only_it_differs(deployed: Settings):
    champion = Bundle.load(deployed.path("models/production"))
    with Project.open(deployed) as project:
        decision = compare_with_production(project, replace(champion, threshold=0.25), champion)
        linked = compare_with_production(project, replace(champion, threshold=0.25, linked={}), champion)
    assert (decision.verdict, linked.verdict) == ("keep", "cannot tell")
    assert decision.reason.startswith(
        "only the threshold differs, 0.25 instead of 0.5: both models give the same scores"
    )
    assert "`churnops run --deploy`" in decision.reason


@pytest.mark.parametrize(("rows", "churned"), [(1, None), (3, None), (600, "False"), (200, "True")])
def test_few_customers_or_one_outcome_cannot_tell(
    settings: Settings, reversed_world: Path, rows: int, churned: str | None
):
    observed(settings, part(reversed_world, rows, churned))
    summary = retrain(settings)
    assert summary.status == "cannot tell"
    assert "at least 20 of each are needed" in summary.reason


def test_the_main_job_does_not_undo_a_retraining_on_newer_customers(settings: Settings, reversed_world: Path):
    """`data.production` is older than the retrained model's rows: training on it would undo the retraining."""
    assert retrain(settings, reversed_world).status == "deployed"
    before = production(settings)
    found = run_all(settings).deployed
    assert (found.status, production(settings).content_sha256) == ("challenger", before.content_sha256)
    assert found.decision is not None
    assert found.decision.verdict == "cannot tell"
