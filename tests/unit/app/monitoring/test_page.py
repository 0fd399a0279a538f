"""The Monitoring page, rendered without a browser."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from churnops.journal import open_database
from churnops.journal.alerts import AlertLog, Notice, Try
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.decisions import DecisionLog, RecordedDecision
from churnops.pipelines.run_monitoring import run_monitoring
from churnops.pipelines.sources import simulation
from churnops.settings import load_settings
from churnops.words import words

Show = Callable[[str], AppTest]
EVIL = "<img src=x onerror=alert(1)> [click](javascript:x) **bold**"


def texts(page: AppTest) -> str:
    """Return all text of the page, in reading order."""
    boxes = [*page.markdown, *page.caption, *page.info, *page.success, *page.warning, *page.error, *page.header]
    return " ".join(str(element.value) for element in boxes).replace("\\", "")


def opened(show: Show, view: str) -> AppTest:
    """Return the page with a view open."""
    page = show("monitoring")
    page.session_state["view"] = view
    return page.run()


def figures(page: AppTest) -> dict[str, Any]:
    return {figure.proto.alt: json.loads(figure.proto.spec) for figure in page.get("plotly_chart")}


def cycles(folder: Path) -> CycleLog:
    return CycleLog(open_database(f"sqlite:///{folder}/journal.db"))


def again(folder: Path, **changes: Any) -> Cycle:
    """Record the newest report's cycle once more, a moment later, with changes."""
    log = cycles(folder)
    newest = log.newest(report_only=None)[0]
    cycle = replace(newest, **({"at": newest.at + timedelta(milliseconds=1)} | changes))
    log.record(cycle)
    return cycle


def test_without_a_model_the_page_names_the_first_command(in_empty_project: Path, show: Show):
    page = show("monitoring")
    assert not page.exception
    assert "No model is deployed" in page.info[0].value
    assert [code.value for code in page.code] == ["churnops run"]


def test_without_a_report_the_page_names_the_command(in_project: Path, show: Show):
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM cycles")
    page = show("monitoring")
    assert not page.exception
    assert [code.value for code in page.code] == ["churnops monitor", "churnops monitor --simulate"]
    assert "no monitoring report yet" in page.info[0].value


def test_the_first_report_is_shown_whole(in_project: Path, show: Show):
    page = show("monitoring")
    assert not page.exception
    assert not page.error
    said = texts(page)
    for heading in ("Performance", "Drift", "Retraining is ", "Alerts"):
        assert heading in said
    metrics = {metric.label: metric.value for metric in page.metric}
    (path,) = (in_project / "monitoring").glob("monitoring_report_*.json")
    report = json.loads(path.read_text())
    assert metrics["ROC-AUC"] == f"{report['performance']['metrics']['roc_auc']['value']:.3f}"
    assert metrics["Customers"] == f"{report['rows']:,}"
    drawn = figures(page)
    assert len(drawn) == 1 + 1 + 3, "interval, performance, and three kinds of drift"
    assert all(drawn), "each is told to those who do not see it"


def test_the_first_columns_are_drawn_with_a_sentence_each(in_project: Path, show: Show):
    page = opened(show, "Columns")
    assert not page.exception
    assert not page.error
    assert len(figures(page)) == 12
    assert "Show all" in page.toggle[1].label
    assert "importance" in texts(page)


def test_retraining_has_its_reasons(in_project: Path, show: Show):
    page = opened(show, "Retraining")
    assert not page.exception
    said = texts(page)
    for name in (
        "Performance",
        "Feature drift",
        "Prediction drift",
        "Target drift",
        "Should the model be trained again?",
    ):
        assert name in said
    assert "None yet" in said


def test_the_first_word_is_the_state_and_its_colour_the_kind_of_box(in_project: Path, show: Show):
    triggers = dict.fromkeys(("performance", "feature_drift", "prediction_drift", "target_drift"), False)
    fine = dict(cycles(in_project).newest()[0].summary)
    fine |= {"recommend_retraining": {"value": False, "triggers": triggers}, "drift_rate": 0.0}
    fine["performance"] = fine["performance"] | {"verdict": "not below"}
    drifts = {name: fine[name] | {"drifted": False} for name in ("prediction_drift", "target_drift")}
    again(in_project, summary=fine | drifts)
    assert show("monitoring").success[0].value.startswith("**Healthy.**")
    again(in_project, summary=fine | drifts | {"recommend_retraining": {"triggers": triggers | {"performance": True}}})
    assert show("monitoring").error[0].value.startswith("**Act now.**")
    again(in_project, status="failed", report=None, content_sha256=None, summary={"error": EVIL})
    page = show("monitoring")
    assert "not monitored" in page.error[0].value
    assert EVIL not in page.error[0].value, "markup is escaped"
    assert EVIL in page.error[0].value.replace("\\", "").replace("\u2060", "")
    assert "Failed cycles in this time range: 1" in [box.label for box in page.expander]


def test_a_report_on_an_earlier_model_is_not_first_and_is_marked(in_project: Path, show: Show):
    page = show("monitoring")
    (chosen,) = [box for box in page.selectbox if box.label == "Report"]
    before = chosen.value
    again(in_project, content_sha256="1" * 64, at=datetime.now(UTC))
    page = show("monitoring")
    (chosen,) = [box for box in page.selectbox if box.label == "Report"]
    assert chosen.value == before
    assert "earlier model" in chosen.options[0]
    assert "on an earlier model" not in texts(page)
    page = chosen.set_value(chosen.options[0]).run()
    assert "This report is on an earlier model" in texts(page)


def test_a_failed_first_cycle_is_no_report_on_simulated_customers(in_project: Path, show: Show):
    log = cycles(in_project)
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM cycles")
    log.record(Cycle(datetime.now(UTC), None, False, "failed", None, {"error": "no customers"}))
    said = texts(show("monitoring"))
    assert "No monitoring cycle has finished yet" in said
    assert "simulated or past customers, or on files" not in said


def test_a_simulated_report_appears_when_it_is_asked_for(in_project: Path, show: Show):
    settings = load_settings(in_project / "config.yaml")
    run_monitoring(settings, simulation(seed=1, rows=300))
    page = show("monitoring")
    (report,) = page.selectbox(key=page.selectbox[0].key).options
    assert "simulated" not in report
    page.toggle[0].set_value(True).run()
    assert not page.exception
    newest, _ = page.selectbox[0].options
    assert "report only" in newest
    assert {metric.label: metric.value for metric in page.metric}["Customers"] == "300"
    assert "no alert or retraining follows" in texts(page)
    performance = next(spec for said, spec in figures(page).items() if said.startswith("ROC-AUC went"))
    assert "Report only" in [trace.get("name") for trace in performance["data"]]


def test_with_simulated_reports_only_they_are_shown_and_marked(in_project: Path, show: Show):
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE cycles SET aside = 1")
    page = show("monitoring")
    assert not page.exception
    assert "All reports are on simulated or past customers" in texts(page)
    assert "no monitoring report yet" in page.info[0].value, "nothing follows from them"
    assert page.metric


def test_a_time_range_without_a_report_suggests_a_longer_one(in_project: Path, show: Show):
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE cycles SET at = at - 86400000000 * 40")
    page = show("monitoring")
    assert "choose a longer time range" in texts(page)
    page.get("button_group")[0].set_value("All").run()
    assert not page.exception
    assert page.metric


def test_a_custom_time_is_chosen_by_its_days(in_project: Path, show: Show):
    page = show("monitoring")
    page.get("button_group")[0].set_value("Custom").run()
    assert page.metric, "the last days are the first choice"
    before = datetime.now(UTC).date() - timedelta(days=400)
    page.date_input[0].set_value((before, before + timedelta(days=1))).run()
    assert not page.exception
    assert "choose a longer time range" in texts(page)


@pytest.mark.parametrize("name", ["../config.yaml", "monitoring_report_20260101T000000.000000Z.json", EVIL])
def test_an_unreadable_report_is_a_sentence_and_the_rest_is_shown(in_project: Path, show: Show, name: str):
    again(in_project, report=name)
    page = show("monitoring")
    assert not page.exception
    assert len(page.warning) == 1
    assert EVIL not in page.warning[0].value
    assert any(said.startswith("ROC-AUC went") for said in figures(page)), "the journal has the series"
    page.session_state["view"] = "Columns"
    assert "needs the report's file" in texts(page.run())


def test_without_its_batch_a_report_lists_its_columns(in_project: Path, show: Show):
    for path in (in_project / "monitoring").glob("production_batch_*.csv"):
        path.unlink()
    page = opened(show, "Columns")
    assert not page.exception
    assert "no longer exists beside the report" in texts(page)
    assert "Column" in page.dataframe[0].value.columns


def test_a_report_on_another_model_lists_its_columns(in_project: Path, show: Show):
    (path,) = (in_project / "monitoring").glob("monitoring_report_*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"content_sha256": "0" * 64}))
    page = opened(show, "Columns")
    assert not page.exception
    assert "on another model than the deployed one" in texts(page)


def test_all_columns_are_drawn_when_asked_for(in_project: Path, show: Show):
    (path,) = (in_project / "monitoring").glob("monitoring_report_*.json")
    columns = json.loads(path.read_text())["feature_drift"]["columns"]
    page = opened(show, "Columns")
    page.toggle[1].set_value(True).run()
    assert not page.exception
    drawn = figures(page)
    assert all(any(said.startswith(f"{words(c['name'])}, ") for said in drawn) for c in columns)


def test_retrainings_and_alerts_are_listed_with_failed_deliveries(in_project: Path, show: Show):
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    now, log = datetime.now(UTC), AlertLog(engine)
    notice = Notice("feature_drift", "firing", "warning", EVIL, EVIL)
    (alert,), _ = log.take(
        lambda _: [notice], ("mail", "chat"), now=now, since=now - timedelta(hours=1), lease=timedelta(minutes=5)
    )
    assert alert.id is not None
    log.finish([Try(alert.id, "mail", None), Try(alert.id, "chat", "refused")], now)
    details = {"cause": "monitoring", "because": [EVIL]}
    DecisionLog(engine).record(RecordedDecision(now, "retrain", "no", EVIL, details=details))
    page = opened(show, "Retraining")
    assert not page.exception
    assert "1 of the newest" in texts(page)
    alerts = page.dataframe[-1].value
    assert alerts["Delivery"][0] == "chat: failed, refused; mail: delivered"
    assert "requested a retraining" in texts(page)
    evidence, requests, _ = (frame.value for frame in page.dataframe)
    assert evidence["Trigger"].iloc[0] == "Performance"
    assert list(evidence.columns)[1:3] == ["p", "Fires at p up to"]
    assert requests["Permitted"][0] == "no"
    assert all(EVIL not in str(element.value) for element in page.markdown)


def test_a_damaged_model_is_reported_and_the_history_remains(in_project: Path, show: Show):
    (next((in_project / "models" / "versions").iterdir()) / "estimator.npz").write_bytes(b"damaged")
    page = show("monitoring")
    assert not page.exception
    assert "cannot be read" in page.error[0].value
    assert page.metric


def test_a_journal_that_breaks_while_the_page_is_open_is_one_line(in_project: Path, show: Show):
    page = show("monitoring")
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE cycles")
    page.toggle[0].set_value(True).run()
    assert not page.exception
    assert "database" in page.error[0].value


def test_importing_the_page_stays_light():
    heavy = "('mlflow', 'sklearn', 'xgboost', 'matplotlib')"
    code = f"import sys, churnops.app.monitoring.page; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
