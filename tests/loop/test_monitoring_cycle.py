"""Monitoring cycles from end to end: from the journal, a file or a simulation to report, page, MLflow and alarms."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema_rs
import mlflow
import polars as pl
import pytest
from sqlalchemy import select

from churnops.errors import ChurnopsError
from churnops.journal import Journal, new_prediction_id
from churnops.journal.cycles import CycleLog
from churnops.journal.predictions import write_predictions
from churnops.journal.tables import alerts, looks
from churnops.monitoring.document import ReportDocument
from churnops.monitoring.window import batch_from_journal
from churnops.pipelines import run_monitoring as monitoring
from churnops.pipelines import sources
from churnops.retraining.policy import RetrainingTask
from churnops.settings import Settings, load_settings
from tests.support.monitoring import (
    DAY,
    asked,
    became,
    bundle_of,
    customers,
    database,
    longer_calls,
    number_of,
    report_of,
)
from tests.support.processes import CHURNOPS, PATIENCE, run, start
from tests.support.projects import LATER, quick, write_project


def test_a_file_of_changed_customers_is_reported_everywhere(deployed: Settings, tmp_path: Path):
    """Report, batch, page, MLflow, journal, alarm and the retraining entry point."""
    path = tmp_path / "changed.csv"
    table = customers(deployed, longer_calls)
    table.write_csv(path)
    called: list[RetrainingTask] = []

    def retrain(_settings: Settings, request: RetrainingTask) -> str:
        called.append(request)
        return "retrained"

    summary = monitoring.run_monitoring(deployed, sources.file(path, "weekly"), retrain=retrain)
    document = report_of(summary)
    jsonschema_rs.Draft202012Validator(ReportDocument.json_schema(), validate_formats=True).validate(document)
    assert document["recommend_retraining"]["value"] is True
    assert any("feature drift" in reason for reason in document["recommend_retraining"]["reasons"])
    assert {"total_day_minutes", "total_day_calls", "account_length"} <= set(document["feature_drift"]["drifted"])
    assert document["look"] == 1
    assert called == [RetrainingTask("monitoring", tuple(summary.cycle.report.recommendation.reasons), path)]
    assert summary.retraining == "retrained"
    # The batch is as it was read, and can be looked at again: the same evidence, the same look.
    batch = summary.cycle.path.parent / summary.cycle.path.name.replace(
        "monitoring_report", "production_batch"
    ).replace(".json", ".csv")
    again = report_of(monitoring.run_monitoring(deployed, sources.file(batch, "weekly"), permitted=False))
    assert again["look"] == 1
    assert again["feature_drift"] == document["feature_drift"]
    page = summary.cycle.page.read_text()
    assert "total_day_minutes" in page
    assert len(page) < 300_000
    client = mlflow.MlflowClient(deployed.database_url(deployed.tracking.uri))
    experiment = client.get_experiment_by_name("ChurnPrediction-Monitoring")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    steps = [found for found in runs if found.info.run_name == monitoring.STEP]
    assert len(steps) == 2
    assert {"drift_rate", "roc_auc", "recommend_retraining"} <= set(steps[0].data.metrics)
    logged = {item.path for item in client.list_artifacts(steps[-1].info.run_id)}
    assert {summary.cycle.path.name, summary.cycle.page.name, batch.name} <= logged
    with database(deployed) as engine:
        newest = CycleLog(engine).newest(status="finished")[0]
        assert newest.summary["drift_rate"] == document["feature_drift"]["drift_rate"]
        with engine.connect() as connection:
            told = connection.execute(select(alerts.c.subject).where(alerts.c.state == "firing")).scalars().all()
    assert told.count("feature_drift") == 1  # the second cycle found the same, and said nothing again


def test_unchanged_customers_cause_no_recommendation(deployed: Settings, tmp_path: Path):
    customers(deployed).write_csv(tmp_path / "same.csv")
    summary = monitoring.run_monitoring(deployed, sources.file(tmp_path / "same.csv", "weekly"))
    assert summary.retraining == "not recommended"
    assert report_of(summary)["recommend_retraining"]["reasons"] == []
    assert number_of(deployed, alerts) == 0


def test_no_retrain_stops_after_the_report(deployed: Settings, tmp_path: Path):
    customers(deployed, longer_calls).write_csv(tmp_path / "changed.csv")
    collect = sources.file(tmp_path / "changed.csv", "weekly")
    retrain = lambda *_: pytest.fail("it was not permitted")  # noqa: E731
    summary = monitoring.run_monitoring(deployed, collect, retrain=retrain, permitted=False)
    assert summary.cycle.report.recommendation.value
    assert "stops after the report" in summary.retraining


def test_nothing_fails_after_a_retraining_that_may_have_deployed(deployed: Settings, tmp_path: Path):
    customers(deployed, longer_calls).write_csv(tmp_path / "changed.csv")

    def retrain(*_: object) -> str:
        (deployed.root / "journal.db").rename(tmp_path / "moved.db")
        return "deployed"

    summary = monitoring.run_monitoring(deployed, sources.file(tmp_path / "changed.csv", "weekly"), retrain=retrain)
    assert summary.retraining == "deployed"


def test_a_simulated_batch_spends_nothing_and_alerts_nobody(deployed: Settings):
    shutil.copytree(LATER.parent, deployed.root / "data/production")
    summary = monitoring.run_monitoring(deployed, sources.simulation(seed=3))
    document = report_of(summary)
    assert document["simulated"] is True
    assert document["look"] is None
    assert document["rows"] == 500
    again = report_of(monitoring.run_monitoring(deployed, sources.simulation(seed=3)))
    changing = ("timestamp",)
    assert {k: v for k, v in again.items() if k not in changing} == {
        k: v for k, v in document.items() if k not in changing
    }
    assert (
        report_of(monitoring.run_monitoring(deployed, sources.simulation(seed=4)))["feature_drift"]
        != document["feature_drift"]
    )
    assert (number_of(deployed, looks), number_of(deployed, alerts)) == (0, 0)
    with database(deployed) as engine:
        assert CycleLog(engine).newest() == []


def test_performance_uses_only_due_outcomes_of_a_window(deployed: Settings):
    """Drift on the newest predictions; performance on those that a whole horizon has passed for, early churners too."""
    now = datetime.now(UTC)
    table = customers(deployed)
    old, recent = table.head(600), table.slice(600, 500)
    due = asked(deployed, old, now - 36 * DAY, now - 31 * DAY)
    asked(deployed, recent, now - 6 * DAY, now - 1 * DAY)
    churned = (old["churn"] == "True").to_list()
    became(deployed, due, churned, now - timedelta(hours=1))
    early = asked(deployed, recent.filter(pl.col("churn") == "True"), now - 5 * DAY, now - 4 * DAY)
    became(deployed, early, [True] * len(early), now - timedelta(hours=1))  # not due: they would make a rate of 100 %
    report = report_of(monitoring.run_monitoring(deployed, sources.window()))
    assert report["rows"] == 500 + len(early)
    labels = report["performance"]["labels"]
    assert (labels["due"], labels["labelled"]) == (600, 600)
    assert 31 <= labels["median_age_days"] <= 36
    assert report["performance"]["metrics"]["roc_auc"]["value"] > 0.8
    assert report["target_drift"]["drifted"] is False


def test_late_labels_change_past_windows_and_nothing_looks_ahead(deployed: Settings):
    now = datetime.now(UTC)
    table = customers(deployed).head(600)
    rows = asked(deployed, table, now - 46 * DAY, now - 40 * DAY)  # due 10 to 16 days ago
    churned = (table["churn"] == "True").to_list()
    became(deployed, rows[:300], churned[:300], now - 9 * DAY)
    became(deployed, rows[300:], churned[300:], now - 2 * DAY)
    bundle = bundle_of(deployed)

    def labelled(known_at: datetime, until: datetime) -> tuple[int, int]:
        with database(deployed) as engine:
            batch = batch_from_journal(
                Journal(engine, label_horizon=30 * DAY),
                bundle,
                (until - 7 * DAY, until),
                known_at=known_at,
            )
        return batch.resolved.coverage.due, batch.resolved.coverage.labelled

    past = now - 9 * DAY - timedelta(minutes=1)
    assert labelled(past, past)[1] == 0
    assert labelled(now - 8 * DAY, past) == (labelled(past, past)[0], 300)
    assert labelled(now, past)[1] > 500
    newest = report_of(monitoring.run_monitoring(deployed, sources.window()))
    history = newest["performance"]["history"]
    assert sum(entry["labels"]["labelled"] for entry in history) + newest["performance"]["labels"]["labelled"] == 600


def test_labels_that_come_in_day_by_day_are_looks_too(deployed: Settings):
    """New labels are new evidence even without new predictions, and count as a look."""
    now = datetime.now(UTC)
    table = customers(deployed).head(600)
    rows = asked(deployed, table, now - 36 * DAY, now - 31 * DAY)
    churned = (table["churn"] == "True").to_list()
    numbers = []
    for first in range(0, 600, 200):
        became(deployed, rows[first : first + 200], churned[first : first + 200], now - timedelta(hours=1))
        numbers.append(report_of(monitoring.run_monitoring(deployed, sources.window()))["look"])
    assert numbers == [1, 2, 3]


def test_with_labels_of_churners_only_label_drift_cannot_tell(deployed: Settings):
    now = datetime.now(UTC)
    table = customers(deployed).head(600)
    rows = asked(deployed, table, now - 36 * DAY, now - 31 * DAY)
    left = [row for row, outcome in zip(rows, table["churn"], strict=True) if outcome == "True"]
    became(deployed, left, [True] * len(left), now - timedelta(hours=1))
    report = report_of(monitoring.run_monitoring(deployed, sources.window()))
    assert (report["performance"]["labels"]["due"], report["performance"]["labels"]["labelled"]) == (600, len(left))
    assert report["target_drift"]["drifted"] is None
    assert report["recommend_retraining"]["value"] is False


def test_a_past_window_causes_no_alert_or_retraining(deployed: Settings):
    now = datetime.now(UTC)
    rows = asked(deployed, customers(deployed, longer_calls).head(600), now - 60 * DAY, now - 55 * DAY)
    became(deployed, rows, [True] * 600, now - timedelta(hours=1))
    past = sources.window(until=now - 54 * DAY)
    summary = monitoring.run_monitoring(deployed, past, retrain=lambda *_: pytest.fail("it was called"))
    report = report_of(summary)
    assert report["past"] is True
    assert report["rows"] == 600
    assert report["recommend_retraining"]["value"] is True
    assert "a past window causes no retraining" in summary.retraining
    assert report["look"] is None
    assert (number_of(deployed, looks), number_of(deployed, alerts)) == (0, 0)
    with database(deployed) as engine:
        assert CycleLog(engine).newest() == []


def test_a_certain_change_stays_certain_while_it_is_big(deployed: Settings, tmp_path: Path):
    """The level falls from look to look: that alone neither ends an alarm nor a recommendation."""
    changed = customers(deployed, longer_calls)
    fired = []
    for number in range(3):
        path = tmp_path / f"{number}.csv"
        changed.slice(number * 100, 60 if number else 800).write_csv(path)  # later batches are too small to be sure
        report = report_of(monitoring.run_monitoring(deployed, sources.file(path, "weekly"), permitted=False))
        (trigger,) = (t for t in report["recommend_retraining"]["triggers"] if t["name"] == "feature_drift")
        fired.append((trigger["big"], trigger["fired"]))
    assert fired == [(True, True)] * 3
    with database(deployed) as engine, engine.connect() as connection:
        told = connection.execute(select(alerts.c.state).where(alerts.c.subject == "feature_drift")).scalars().all()
    assert told == ["firing"]


def test_other_models_predictions_are_no_evidence_on_this_one(deployed: Settings):
    now = datetime.now(UTC)
    rows = asked(deployed, customers(deployed).head(100), now - 3 * DAY, now - 2 * DAY)
    other = replace(rows[0].layout, content_sha256="0" * 64)
    others = [row._replace(id=new_prediction_id(), layout=other) for row in rows]
    with database(deployed) as engine:
        write_predictions(engine, others)
    assert report_of(monitoring.run_monitoring(deployed, sources.window()))["rows"] == 100


def test_an_empty_journal_cannot_tell(deployed: Settings):
    report = report_of(monitoring.run_monitoring(deployed, sources.window()))
    assert report["rows"] == 0
    assert report["look"] is None
    assert report["feature_drift"]["drift_rate"] is None
    assert report["performance"]["verdict"] == "cannot tell"
    assert report["recommend_retraining"]["value"] is False
    assert number_of(deployed, looks) == 0


def test_without_new_predictions_the_newest_window_is_shown(deployed: Settings):
    """A window acts once: shown again, it causes no alert, look or retraining."""
    now = datetime.now(UTC)
    asked(deployed, customers(deployed, longer_calls).head(600), now - 20 * DAY, now - 15 * DAY)
    called: list[RetrainingTask] = []

    def retrain(_settings: Settings, task: RetrainingTask) -> str:
        called.append(task)
        return "retrained"

    first = monitoring.run_monitoring(deployed, sources.window(), retrain=retrain)
    told = number_of(deployed, alerts)
    again = monitoring.run_monitoring(deployed, sources.window(), retrain=retrain)
    assert [report_of(summary)["examined_before"] for summary in (first, again)] == [False, True]
    assert [report_of(summary)["rows"] for summary in (first, again)] == [600, 600]
    assert [report_of(summary)["look"] for summary in (first, again)] == [1, 1]
    assert told > 0
    assert (len(called), told, number_of(deployed, alerts), number_of(deployed, looks)) == (1, told, told, 1)
    assert "an earlier cycle examined the same customers" in again.retraining
    printed = run(CHURNOPS, "monitor", cwd=deployed.root).stdout
    assert "; it was examined before, so it causes no alert and no retraining" in " ".join(printed.split())


def test_labels_that_came_early_wait_until_they_are_due(deployed: Settings):
    now = datetime.now(UTC)
    table = customers(deployed).head(600)
    rows = asked(deployed, table, now - 3 * DAY, now - 1 * DAY)
    churned = (table["churn"] == "True").to_list()
    became(deployed, rows[:500], churned[:500], now - timedelta(hours=1))
    labels = report_of(monitoring.run_monitoring(deployed, sources.window()))["performance"]["labels"]
    assert (labels["due"], labels["waiting"], labels["label_horizon_days"]) == (0, 500, 30)
    assert datetime.fromisoformat(labels["first_due"]) == rows[0].at.replace(microsecond=0) + 30 * DAY
    due = f"{rows[0].at + 30 * DAY:%d %b %Y}".lstrip("0")
    expected = f"500 outcomes wait; the first are due on {due} (label_horizon 30 days)"
    assert expected in " ".join(run(CHURNOPS, "monitor", cwd=deployed.root).stdout.split())


def test_an_empty_journal_shows_the_newest_report_with_customers(deployed: Settings, tmp_path: Path):
    customers(deployed).write_csv(tmp_path / "file.csv")
    filed = monitoring.run_monitoring(deployed, sources.file(tmp_path / "file.csv", "weekly"))
    summary = monitoring.run_monitoring(deployed, sources.window())
    assert summary.earlier is not None
    assert summary.to_json()["newest_report_with_customers"] == filed.cycle.path.name
    printed = " ".join(run(CHURNOPS, "monitor", cwd=deployed.root).stdout.split())
    assert "Newest report with customers: 1,667 customers of weekly on " in printed
    assert filed.cycle.page.name in printed


def test_a_failed_cycle_is_recorded_alerted_and_recovers(deployed: Settings, tmp_path: Path):
    bad = tmp_path / "bad.csv"
    some = pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("Atlantis")).otherwise("voice_mail_plan")
    customers(deployed).with_columns(some.alias("voice_mail_plan")).write_csv(bad)
    with pytest.raises(ChurnopsError, match="voice_mail_plan"):
        monitoring.run_monitoring(deployed, sources.file(bad, "weekly"))
    folder = deployed.path("monitoring")
    assert not folder.exists() or list(folder.iterdir()) == []
    with database(deployed) as engine:
        assert CycleLog(engine).newest()[0].status == "failed"
        assert "voice_mail_plan" in CycleLog(engine).newest()[0].summary["error"]
    customers(deployed).write_csv(tmp_path / "good.csv")
    monitoring.run_monitoring(deployed, sources.file(tmp_path / "good.csv", "weekly"))
    with database(deployed) as engine, engine.connect() as connection:
        told = connection.execute(select(alerts.c.subject, alerts.c.state).order_by(alerts.c.id)).all()
    assert [tuple(row) for row in told] == [("cycle_failed", "firing"), ("cycle_failed", "recovered")]


def test_an_unwritable_folder_is_alerted_with_its_reason(deployed: Settings):
    customers(deployed).write_csv(deployed.root / "same.csv")
    deployed.path("monitoring").write_text("a file")
    with pytest.raises(ChurnopsError, match=r"monitoring cannot be written: .*(exists|directory)"):
        monitoring.run_monitoring(deployed, sources.file(deployed.root / "same.csv", "weekly"))
    with database(deployed) as engine:
        assert "cannot be written" in CycleLog(engine).newest()[0].summary["error"]


def test_a_mistyped_option_causes_no_alert(deployed: Settings):
    monitoring.run_monitoring(deployed, sources.window())
    for options in (("--batch", "no.csv"), ("--experiment", "no"), ("--simulate", "--experiment", "no")):
        run(CHURNOPS, "monitor", *options, cwd=deployed.root, code=2)
    assert number_of(deployed, alerts) == 0
    with database(deployed) as engine:
        assert CycleLog(engine).newest()[0].status == "finished"


def test_a_journal_that_does_not_open_is_alerted(
    deployed: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    sent: list[str] = []
    monkeypatch.setattr(
        "churnops.alerting.alerts.deliver",
        lambda messages, *_: {
            channel: [[sent.append(m.title)] for m in of_channel] for channel, of_channel in messages.items()
        },
    )
    alerts = deployed.alerts.model_copy(update={"urls": ("json://127.0.0.1:9",)})
    (deployed.root / "journal.db").write_text("this is no database")
    with pytest.raises(ChurnopsError, match="journal"):
        monitoring.run_monitoring(deployed.model_copy(update={"alerts": alerts}), sources.window())
    assert [title for title in sent if "A monitoring cycle failed" in title]
    assert "A monitoring cycle failed" not in capsys.readouterr().err  # the error is printed by the command


def test_without_a_model_the_error_names_the_remedy(tmp_path: Path):
    settings = load_settings(write_project(tmp_path / "new", quick))
    with pytest.raises(ChurnopsError, match="churnops run"):
        monitoring.run_monitoring(settings, sources.window())


@pytest.mark.parametrize("given", ["ChurnPrediction-Monitorin", "12345"])
def test_an_unknown_experiment_is_an_error(deployed: Settings, given: str):
    with pytest.raises(ChurnopsError, match="there is no MLflow experiment"):
        monitoring.run_monitoring(deployed, sources.window(), experiment=given)


def test_an_experiment_is_taken_by_id_or_name(deployed: Settings):
    client = mlflow.MlflowClient(deployed.database_url(deployed.tracking.uri))
    monitoring.run_monitoring(deployed, sources.window())  # makes the store
    number = client.create_experiment("mine", artifact_location=(deployed.root / "elsewhere").as_uri())
    for given in ("mine", number):
        monitoring.run_monitoring(deployed, sources.window(), experiment=given)
    assert len([r for r in client.search_runs([number]) if r.info.run_name == monitoring.STEP]) == 2


def test_the_module_is_a_command_too(deployed: Settings):
    module = (sys.executable, "-m", "churnops.pipelines.run_monitoring")
    done = run(*module, "nothing-like-it", cwd=deployed.root, code=2)
    assert "there is no MLflow experiment 'nothing-like-it'" in done.stderr
    done = run(*module, cwd=deployed.root)
    assert done.stdout.startswith("Cannot tell: ")


def test_cycles_at_once_and_a_killed_one_leave_whole_reports(deployed: Settings, tmp_path: Path):
    """Three cycles at once, one of them killed: every report is whole, has batch and page, and is one look."""
    path = tmp_path / "changed.csv"
    customers(deployed, longer_calls).write_csv(path)
    monitoring.run_monitoring(deployed, sources.window())  # makes the stores
    command = (CHURNOPS, "monitor", "--batch", str(path), "--act", "--source", "w", "--no-retrain", "--json")
    processes = [
        start(command, cwd=deployed.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    folder = deployed.path("monitoring")
    before = len(list(folder.iterdir()))
    deadline = time.monotonic() + PATIENCE
    while len(list(folder.iterdir())) == before and time.monotonic() < deadline:
        time.sleep(0.005)
    processes[0].kill()
    results = [process.communicate(timeout=PATIENCE) for process in processes]
    for process, (out, err) in zip(processes[1:], results[1:], strict=True):
        assert process.returncode == 0, err
        assert json.loads(out)["report"]["look"] == 1
    run(*command, cwd=deployed.root)
    reports = sorted(folder.glob("monitoring_report_*.json"))
    assert len(reports) >= 4
    for report in reports:
        document = json.loads(report.read_text())
        assert document["look"] in (None, 1)
        assert report.with_suffix(".html").exists()
        assert (
            report.with_name(report.name.replace("monitoring_report", "production_batch")).with_suffix(".csv").exists()
        )
    assert number_of(deployed, looks) == 1
    with database(deployed) as engine, engine.connect() as connection:
        told = connection.execute(select(alerts.c.subject).where(alerts.c.state == "firing")).scalars().all()
    assert len(told) == len(set(told))  # nothing was told twice


def test_it_repeats_until_stopped_with_one_cycle_at_a_time(deployed: Settings):
    monitoring.run_monitoring(deployed, sources.window())
    folder = deployed.path("monitoring")
    command = (CHURNOPS, "monitor", "--every", "1s", "--no-retrain")
    watchman = start(command, cwd=deployed.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while len(list(folder.glob("*.json"))) < 3 and time.monotonic() < deadline:
            assert watchman.poll() is None
            time.sleep(0.05)
        done = run(*command, cwd=deployed.root, code=2)
        assert "another process" in done.stderr
        watchman.send_signal(signal.SIGTERM)
        out, _ = watchman.communicate(timeout=PATIENCE)
    finally:
        watchman.kill()
    assert watchman.returncode == 0, out
    assert len(list(folder.glob("*.json"))) >= 3
    run(CHURNOPS, "monitor", cwd=deployed.root)  # the lock is gone


def test_wrong_options_are_refused_before_anything_is_done(deployed: Settings):
    for options, message in (
        (("--batch", "x.csv", "--simulate"), "exclude each other"),
        (("--every", "1h", "--simulate"), "--every"),
        (("--every", "soon"), "not a duration"),
        (("--seed", "1"), "--simulate"),
        (("--window", "7"), "not a duration"),
        (("--window", "99999d"), "longer than 3650 days"),
        (("--until", "2999-01-01"), "between the year 2000 and now"),
        (("--until", "0001-01-02"), "between the year 2000 and now"),
        (("--simulate", "--seed", "-1"), "--seed"),
        (("--batch", "no-such-file.csv"), "no-such-file.csv"),
        (("--batch", "x.csv", "--act"), "--act needs --source NAME"),
        (("--batch", "x.csv", "--source", "weekly"), "without it the command only reports on the file"),
        (("--batch", "x.csv", "--act", "--source", "live"), "'live' is reserved for churnops"),
        (("--batch", "x.csv", "--act", "--source", "a b"), "--source 'a b'"),
        (("--act", "--source", "weekly"), "need --batch"),
    ):
        done = run(CHURNOPS, "monitor", *options, cwd=deployed.root, code=2)
        assert message in done.stderr, (options, done.stderr)
