"""The chosen time range, points over time, and the requests that follow a report."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from churnops.app.monitoring.retrainings import OPEN, followed, retrainings
from churnops.app.monitoring.series import BEGIN, drift_points, failures, finished, labels, metric_points, span, trend
from churnops.journal.cycles import Cycle
from churnops.journal.decisions import RecordedDecision

NOW = datetime(2026, 5, 10, 12, 30, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def cycle(hours: int, found: Mapping[str, Any], **changes: Any) -> Cycle:
    given = {"report_only": False, "status": "finished", "report": f"{hours}.json"} | changes
    return Cycle(NOW + hours * HOUR, "a", summary={"model_version": "forest"} | dict(found), **given)


def test_the_newest_minute_is_in_every_range():
    for choice in ("24 hours", "7 days", "30 days", "All"):
        assert span(choice, NOW).until == datetime(2026, 5, 10, 12, 31, tzinfo=UTC)
    assert span("All", NOW).since == BEGIN
    assert span("7 days", NOW).since == datetime(2026, 5, 3, 12, 31, tzinfo=UTC)
    assert span("7 days", NOW) == span("7 days", NOW + timedelta(seconds=40)), "so that what was read serves again"


def test_a_custom_time_has_both_its_days_whole():
    chosen = span("Custom", NOW, [date(2026, 4, 30)])
    assert (chosen.since, chosen.until) == (datetime(2026, 4, 30, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))


def test_points_come_from_finished_cycles_with_a_value():
    auc = {"value": 0.9, "low": 0.8, "high": 0.95}
    cycles = [
        cycle(0, {"performance": {"metrics": {"roc_auc": auc}, "verdict": "below"}}),
        cycle(1, {"performance": {"metrics": {}, "verdict": "cannot tell"}}),
        cycle(2, {"performance": {"metrics": {"roc_auc": {"value": "evil"}}}}),
        cycle(3, {"performance": {"metrics": {"roc_auc": auc | {"low": None}}}}, report_only=True),
        cycle(4, {"error": "x"}, status="failed", report=None),
    ]
    first, last = metric_points(cycles, "roc_auc")
    assert (first.value, first.low, first.high, first.marked, first.model) == (0.9, 0.8, 0.95, True, "forest")
    assert (last.low, last.marked, last.report_only) == (None, None, True)
    assert metric_points(cycles, "f1") == []
    assert [c.report for c in finished(cycles)] == ["3.json", "2.json", "1.json", "0.json"]
    assert failures(cycles) == [(NOW + 4 * HOUR, "x")]


def test_drift_is_marked_above_the_limit_or_by_its_verdict():
    cycles = [
        cycle(0, {"drift_rate": 0.3, "prediction_drift": {"effect": 0.1, "drifted": True}}),
        cycle(1, {"drift_rate": 0.31, "prediction_drift": {"effect": 0.2, "drifted": None}}),
        cycle(2, {"drift_rate": None, "prediction_drift": {"effect": None, "drifted": None}}),
    ]
    assert [(p.value, p.marked) for p in drift_points(cycles, "drift_rate", limit=0.3)] == [(0.3, False), (0.31, True)]
    assert [(p.value, p.marked) for p in drift_points(cycles, "prediction_drift")] == [(0.1, True), (0.2, None)]
    assert drift_points(cycles, "target_drift") == []


def test_reports_have_different_names_also_within_a_second():
    one = cycle(0, {})
    assert labels([one, cycle(1, {}, report_only=True), one]) == [
        "2026-05-10 12:30:15 UTC",
        "2026-05-10 13:30:15 UTC (report only)",
        "2026-05-10 12:30:15 UTC, 2",
    ]
    assert labels([one], "another model") == ["2026-05-10 12:30:15 UTC (earlier model)"]


def test_a_trend_is_a_sentence():
    points = drift_points(
        [cycle(h, {"drift_rate": rate}) for h, rate in ((0, 0.1), (24, 0.4), (48, 0.2))], "drift_rate"
    )
    assert trend(points, "Drift", share=True) == (
        "Drift went from 10 % on 2026-05-10 to 20 % on 2026-05-12; over 3 reports it was between 10 % and 40 %."
    )
    assert trend([], "Drift") == "Drift: no value in this time range."


def decision(hours: int, subject: Any, verdict: str, reason: str = "why", **details: Any) -> RecordedDecision:
    return RecordedDecision(NOW + hours * HOUR, subject, verdict, reason, details=details)


def test_a_retraining_belongs_to_the_first_deploy_decision_after_it():
    newest_first = [
        decision(6, "retrain", "yes", "new outcomes", cause="schedule", because=[]),
        decision(5, "deploy", "deploy", "by hand"),
        decision(4, "deploy", "keep", "not better"),
        decision(3, "retrain", "no", "another is running", cause="by hand"),
        decision(2, "retrain", "yes", "enough", cause="monitoring", because=["drift", "decline"]),
        decision(1, "retrain", "no", "too few", cause="monitoring", because="nonsense"),
    ]
    running, refused, kept, few = retrainings(newest_first)
    assert (running.outcome, running.by, running.reason) == (OPEN, "the schedule", "new outcomes")
    assert (refused.permitted, refused.outcome, refused.reason) == (False, "nothing was trained", "another is running")
    assert (kept.because, kept.reason) == ("drift; decline", "not better")
    assert kept.outcome == "keep: the champion stays"
    assert (few.because, few.by) == ("", "a report")


@pytest.mark.parametrize(
    ("hours", "recommended", "automatic", "expected"),
    [
        (1, True, True, "A report requested a retraining on 2026-05-10 14:30 UTC. Keep: the champion stays."),
        (3, True, False, "switched off"),
        (3, True, True, "No retraining yet"),
        (3, False, True, ""),
    ],
)
def test_a_report_is_followed_by_the_first_later_request(hours, recommended, automatic, expected):
    asked = retrainings(
        [
            decision(3, "deploy", "keep"),
            decision(2, "retrain", "yes", cause="monitoring"),
            decision(0, "retrain", "no"),
        ]
    )
    said = followed(asked, NOW + hours * HOUR, recommended, automatic)
    assert expected in said
    assert bool(said) == bool(expected)
