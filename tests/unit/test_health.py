"""Health: one state from cycles and alarms, the worst first, with its beginning; unknown is never good."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from churnops.alerting.health import Health, Limits, Production, judge
from churnops.journal.alerts import Alert, Firing, Notice
from churnops.journal.cycles import Cycle

NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MODEL = Production("a", NOW - 20 * DAY)
LIMITS = Limits(drift_rate=0.3, age=7 * DAY)
FINE = {"performance": False, "feature_drift": False, "prediction_drift": False, "target_drift": False}


def summary(
    triggers: Mapping[str, bool | None] = FINE,
    *,
    rate: float | None = 0.0,
    verdict: str = "not below",
    drifted: str = "",
    auc: float = 0.9,
) -> dict[str, Any]:
    return {
        "model_version": "forest",
        "drift_rate": rate,
        "performance": {"verdict": verdict, "due": 40, "labelled": 12, "metrics": {"roc_auc": {"value": auc}}},
        "recommend_retraining": {"value": any(triggers.values()), "triggers": dict(triggers)},
        "prediction_drift": {"drifted": drifted == "scores"},
        "target_drift": {"drifted": drifted == "outcomes"},
    }


def cycle(hours_ago: float, found: Mapping[str, Any] | None = None, model: str = "a") -> Cycle:
    return Cycle(NOW - hours_ago * HOUR, model, False, "finished", "r.json", summary() if found is None else found)


def failed(hours_ago: float, why: str = "no database") -> Cycle:
    return Cycle(NOW - hours_ago * HOUR, None, False, "failed", None, {"error": why})


def fired(name: str) -> dict[str, bool | None]:
    return FINE | {name: True}


def alarm(subject: str, since: timedelta, told: timedelta | None = None) -> Firing:
    notice = Notice(subject, "firing", "critical", subject, "")
    return Firing(Alert(1, NOW - (since if told is None else told), notice), NOW - since)


def health(*cycles: Cycle, firing: tuple[Firing, ...] = (), model: Production | None = MODEL) -> Health:
    return judge(model, cycles, firing, LIMITS, NOW)


def test_a_good_model_with_unchanged_customers_is_healthy_since_then():
    found = health(cycle(1), cycle(2), cycle(3, summary(fired("feature_drift"))), cycle(4))
    assert (found.level, found.word, found.since) == ("good", "Healthy", NOW - 2 * HOUR)
    assert found.todo == ""
    assert found.also == ()


def test_a_few_drifted_columns_are_mentioned_and_need_no_action():
    found = health(cycle(1, summary(rate=0.1)))
    assert found.level == "good"
    assert "10 % of the columns drifted" in found.sentence


def test_without_a_model_or_a_cycle_the_page_names_the_next_command():
    assert (health(model=None).level, "churnops run" in health(model=None).todo) == ("unknown", True)
    assert (health().level, "churnops monitor" in health().todo) == ("unknown", True)


def test_failed_cycles_count_from_the_first_failure_after_a_report():
    found = health(failed(1, "<b>disk</b> is full"), failed(2), cycle(3), failed(4))
    assert (found.level, found.word, found.since) == ("bad", "Act now", NOW - 2 * HOUR)
    assert "<b>disk</b> is full" in found.sentence
    assert "churnops monitor" in found.todo


def test_a_model_that_performs_worse_is_bad_since_it_first_did():
    worse = summary(fired("performance"), auc=0.61)
    found = health(cycle(1, worse), cycle(5, worse), cycle(9))
    assert (found.level, found.since) == ("bad", NOW - 5 * HOUR)
    assert "0.610" in found.sentence
    assert "churnops retrain" in found.todo


@pytest.mark.parametrize("name", ["feature_drift", "prediction_drift", "target_drift"])
def test_certain_drift_is_to_be_watched(name):
    found = health(cycle(1, summary(fired(name), rate=0.5)))
    assert (found.level, found.word) == ("watch", "Look closer")
    assert ("50 % of the columns" in found.sentence) == (name == "feature_drift")


def test_the_worst_comes_first_and_the_others_are_not_forgotten():
    both = summary(FINE | {"performance": True, "feature_drift": True})
    found = health(failed(0.5), cycle(1, both))
    assert "not monitored" in found.sentence
    assert [part.split(" ")[0] for part in found.also] == ["Predictions", "Customers"]


@pytest.mark.parametrize(
    "found", [summary(verdict="below"), summary(rate=0.5), summary(drifted="scores"), summary(drifted="outcomes")]
)
def test_a_large_uncertain_effect_is_watched_without_an_action(found):
    seen = health(cycle(1, found), cycle(2, found), cycle(3))
    assert (seen.level, seen.since) == ("watch", NOW - 2 * HOUR)
    assert "not enough evidence yet" in seen.sentence


def test_unknown_outcomes_are_not_good_news():
    untold = summary(FINE | {"performance": None, "target_drift": None})
    found = health(cycle(1, untold), cycle(2, untold), cycle(3))
    assert (found.level, found.since) == ("unknown", NOW - 2 * HOUR)
    assert "12 of 40 due outcomes are known" in found.sentence


def test_without_customers_the_next_step_is_to_score_some():
    found = health(cycle(1, summary(dict.fromkeys(FINE)) | {"rows": 0}))
    assert (found.level, found.sentence) == ("unknown", "No customer has been examined yet.")
    assert "`churnops serve`" in found.todo


@pytest.mark.parametrize("found", [{}, {"recommend_retraining": 3}, {"recommend_retraining": {"triggers": ["x"]}}])
def test_a_summary_without_verdicts_is_not_good_news(found):
    seen = health(cycle(1, found))
    assert seen.level == "unknown"
    assert "too little" in seen.sentence


def test_an_old_newest_report_is_to_be_watched():
    found = health(cycle(24 * 9))
    assert (found.level, found.since) == ("watch", NOW - 2 * DAY)
    assert "9 days" in found.sentence


def test_a_state_begins_with_its_alarm_if_that_is_earlier():
    worse = summary(fired("performance"))
    assert health(cycle(1, worse), firing=(alarm("performance", 3 * DAY),)).since == NOW - 3 * DAY
    assert health(cycle(1, worse), firing=(alarm("performance", timedelta(0)),)).since == NOW - HOUR


def test_an_alert_stays_until_a_report_clears_it():
    told = alarm("performance", 2 * DAY)
    found = health(cycle(1, summary(FINE | {"performance": None})), firing=(told,))
    assert (found.level, found.since) == ("bad", NOW - 2 * DAY)
    assert "No later report" in found.sentence
    assert health(cycle(1, summary(verdict="below")), firing=(told,)).level == "bad"
    assert health(cycle(1), firing=(told,)).level == "good"


def test_alarms_about_the_previous_model_do_not_count():
    old = alarm("performance", 40 * DAY, told=30 * DAY)
    assert health(cycle(1), firing=(old,)).level == "good"
    again = alarm("performance", 40 * DAY, told=DAY)
    assert health(cycle(1, summary(FINE | {"performance": None})), firing=(again,)).level == "bad"


def test_reports_about_the_previous_model_do_not_count():
    found = health(cycle(1, summary(fired("performance")), model="b"))
    assert (found.level, found.since) == ("unknown", MODEL.deployed_at)
    assert "new" in found.sentence


def test_a_failed_retraining_is_bad_even_if_reports_are_good():
    found = health(cycle(1), firing=(alarm("retraining_failed", DAY),))
    assert (found.level, found.since) == ("bad", NOW - DAY)
    assert "{" not in found.sentence


def test_an_alarm_of_a_failed_cycle_is_over_with_the_next_report():
    assert health(cycle(1), firing=(alarm("cycle_failed", 2 * HOUR),)).level == "good"


def test_alerts_of_other_sources_stand_beside_the_live_state():
    weekly = replace(cycle(0.5, summary(fired("feature_drift"))), source="weekly")
    found = health(weekly, cycle(1))
    assert (found.level, found.sentence.startswith("Source weekly: Customers changed")) == ("watch", True)
    clean = replace(cycle(0.5), source="weekly")
    notice = Notice("feature_drift", "firing", "warning", "x", "", "weekly")
    own = Firing(Alert(1, NOW - 2 * HOUR, notice), NOW - 2 * HOUR)
    assert health(clean, cycle(1, summary(fired("feature_drift"))), firing=(own,)).sentence.startswith(
        "Customers changed"
    )
    assert health(clean, cycle(1)).level == "good"
    assert health(replace(failed(0.5), source="weekly"), cycle(1)).sentence.startswith(
        "Source weekly: The model is not"
    )


def test_without_live_traffic_the_state_is_that_of_the_newest_source():
    found = health(replace(cycle(1), source="data.production"))
    assert found.level == "good"
    assert found.also == ("All reports are on the source data.production; no report is on the API's customers.",)
