"""Alarms from a report: fired triggers begin one, and it ends only when no change is big any more."""

from dataclasses import replace

import numpy as np
import pytest

from churnops.alerting.alarms import AFTER_RETRAINING, alarms, deployment, failure, retraining_failed, rollback
from churnops.journal import open_database
from churnops.journal.cycles import CycleLog
from churnops.monitoring import ModelMonitor, Report
from churnops.monitoring.budget import Trigger, TriggerName
from churnops.monitoring.collect import batch_from_columns
from churnops.monitoring.messages import MESSAGES
from churnops.settings import Settings
from churnops.training.train import TrainedModels


@pytest.fixture
def report(settings: Settings, trained: TrainedModels) -> Report:
    engine = open_database("sqlite:///:memory:")
    batch = batch_from_columns({}, np.empty(0), trained.refit, "nobody", acts_as="live")
    found = ModelMonitor(settings, CycleLog(engine)).check_batch(trained.refit, batch)
    engine.dispose()
    return found


def with_triggers(report: Report, **triggers: tuple[bool | None, bool | None]) -> Report:
    names: dict[str, TriggerName] = {t.name: t.name for t in report.recommendation.triggers}
    made = tuple(
        Trigger(names[name], big, fired, 1e-9, 0.01, f"{name}: why") for name, (big, fired) in triggers.items()
    )
    return replace(report, recommendation=replace(report.recommendation, triggers=made))


def test_an_uncertain_verdict_neither_begins_nor_ends_an_alert(report: Report):
    found = with_triggers(
        report,
        performance=(True, True),
        feature_drift=(True, False),
        prediction_drift=(None, None),
        target_drift=(False, False),
    )
    firing, clear = alarms(found, "https://dashboard")
    assert [alarm.subject for alarm in firing] == ["performance"]
    assert firing[0].severity == "critical"
    assert firing[0].facts[:2] == ("Why.", f"Next: {MESSAGES['performance'].todo}")
    assert len(firing[0].facts) == 3
    assert firing[0].link == "https://dashboard"
    assert clear == ["cycle_failed", "target_drift"]


def test_customers_examined_before_raise_no_alarm_and_end_none(report: Report):
    again = replace(with_triggers(report, performance=(True, True), target_drift=(False, False)), examined_before=True)
    assert alarms(again, "") == ([], ["cycle_failed"])


def test_a_report_without_a_source_neither_begins_nor_ends_an_alert(report: Report):
    found = replace(with_triggers(report, performance=(True, True), target_drift=(False, False)), acts_as=None)
    assert alarms(found, "") == ([], [])


def test_a_failed_retraining_is_critical_and_production_is_unchanged():
    alarm = retraining_failed("row 7: state must be one of KS, OH", "https://dashboard")
    assert (alarm.subject, alarm.severity, alarm.link) == ("retraining_failed", "critical", "https://dashboard")
    assert alarm.facts[:2] == (
        "Row 7: state must be one of KS, OH.",
        "The deployed model is unchanged. Next: run `churnops retrain` by hand.",
    )


def test_a_cycle_keeps_the_retraining_alert_and_a_decision_ends_it(report: Report):
    _, clear = alarms(with_triggers(report, performance=(False, False)), "")
    assert "retraining_failed" not in clear
    assert AFTER_RETRAINING == ("retraining_failed",)


def test_events_name_their_reason():
    assert failure("the disk is full", "").facts[0] == "The disk is full."
    assert failure("customers.csv is empty", "").facts[0] == "customers.csv is empty."
    assert deployment("forest-1", "asked for", ["ROC-AUC 0.9"], "").facts == ("Asked for.", "ROC-AUC 0.9")
    assert rollback("forest-0", "worse", "").severity == "warning"
