"""Only four triggers recommend retraining, each when its difference is big and the budget allows it."""

from dataclasses import replace
from typing import get_args

import pytest

from churnops.monitoring.budget import Recommendation, TriggerName, Verdicts, level, recommend
from churnops.monitoring.decline import Decline, DeclineTest
from churnops.monitoring.verdicts import ColumnDrift, FeatureDrift
from churnops.settings import MonitoringSettings

SETTINGS = MonitoringSettings()
PLAIN = MonitoringSettings(correction="none")


def decline(*, below: bool, p_value: float | None) -> Decline:
    return Decline(None, 0.93, "ROC-AUC is 0.920", (DeclineTest("expected", 0.83, below, p_value),))


GOOD = decline(below=False, p_value=0.4)
STEADY = FeatureDrift((), 0.1, 10, (), 0.5, "1 of 10 columns drifted (10%)")
SAME = ColumnDrift("x", "score", "ks", 0.02, 0.8, 0.8, 0.02, False, "as before", None, ())
NAMES = get_args(TriggerName)


def judged(
    settings: MonitoringSettings = SETTINGS,
    look: int | None = 1,
    *,
    performance: Decline = GOOD,
    features: FeatureDrift = STEADY,
    scores: ColumnDrift = SAME,
    labels: ColumnDrift = SAME,
) -> Recommendation:
    return recommend(Verdicts(performance, features, scores, labels), settings, look)


def test_an_unchanged_batch_fires_no_trigger():
    found = judged()
    assert (found.value, found.reasons, found.look, found.budget) == (False, (), 1, 0.05)
    assert [(trigger.name, trigger.fired, trigger.level) for trigger in found.triggers] == [
        (name, False, 0.00625) for name in NAMES
    ]


CHANGED = {
    "performance": ("performance", decline(below=True, p_value=1e-4)),
    "feature_drift": ("features", replace(STEADY, drift_rate=0.4, p_value=1e-4)),
    "prediction_drift": ("scores", replace(SAME, drifted=True, p_value=1e-4)),
    "target_drift": ("labels", replace(SAME, drifted=True, p_value=1e-4)),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_trigger_recommends_alone_while_the_budget_allows_it(name: str):
    argument, changed = CHANGED[name]
    early, late = judged(**{argument: changed}), judged(look=50, **{argument: changed})
    assert [trigger.name for trigger in early.triggers if trigger.fired] == [name]
    assert early.value
    assert len(early.reasons) == 1
    assert not late.value
    (waits,) = [trigger for trigger in late.triggers if trigger.name == name]
    assert (waits.big, waits.fired) == (True, False)
    assert waits.level == level(50, 0.05)
    assert waits.reason.endswith("; not certain yet")


@pytest.mark.parametrize("name", NAMES)
def test_a_significant_but_small_change_fires_no_trigger(name: str):
    argument, changed = CHANGED[name]
    small = {
        "performance": decline(below=False, p_value=1e-12),
        "features": replace(STEADY, drift_rate=0.3, p_value=1e-12),
        "scores": replace(SAME, p_value=1e-12),
        "labels": replace(SAME, p_value=1e-12),
    }[argument]
    assert type(small) is type(changed)
    assert not judged(**{argument: small}).value


def test_an_unknown_verdict_recommends_nothing():
    unknown = replace(SAME, drifted=None, p_value=None, reason="12 values, at least 30 are needed")
    nothing = replace(STEADY, drift_rate=None, p_value=None, reason="no column can be told")
    no_labels = Decline(None, 0.93, "0 of 9 outcomes are known")
    found = judged(performance=no_labels, features=nothing, scores=unknown, labels=unknown)
    assert [trigger.fired for trigger in found.triggers] == [None] * 4
    assert not found.value
    assert "12 values" in found.triggers[2].reason


def test_a_big_decline_without_a_p_value_is_unknown():
    found = judged(performance=decline(below=True, p_value=None))
    assert found.triggers[0].fired is None
    assert not found.value


def test_the_plain_rule_has_no_budget():
    changes = {
        argument: replace(changed, p_value=None) for argument, changed in CHANGED.values() if argument != "performance"
    }
    for argument, changed in (changes | {"performance": decline(below=True, p_value=None)}).items():
        found = judged(PLAIN, look=10_000, **{argument: changed})
        assert found.value
        assert {trigger.level for trigger in found.triggers} == {None}
        assert found.budget is None


def test_a_batch_outside_the_models_life_has_the_level_of_look_1():
    found = judged(look=None, scores=CHANGED["prediction_drift"][1])
    assert found.look is None
    assert found.value
    assert found.triggers == judged(look=1, scores=CHANGED["prediction_drift"][1]).triggers


def test_the_budget_and_the_drift_rate_are_those_of_the_settings():
    changed = CHANGED["feature_drift"][1]
    assert not judged(MonitoringSettings(false_alarm_budget=1e-4), features=changed).value
    assert not judged(MonitoringSettings(drift_rate_threshold=0.5), features=changed).value


@pytest.mark.parametrize("name", NAMES)
def test_a_fired_trigger_stays_fired_while_the_change_is_big(name: str):
    argument, changed = CHANGED[name]
    verdicts = Verdicts(performance=GOOD, features=STEADY, scores=SAME, labels=SAME)
    again = recommend(replace(verdicts, **{argument: changed}), SETTINGS, 50, established={name})
    assert [trigger.name for trigger in again.triggers if trigger.fired] == [name]
    assert "certain at an earlier look, and still big" in again.reasons[0]
    over = recommend(verdicts, SETTINGS, 51, established={name})
    assert not over.value
    assert {trigger.big for trigger in over.triggers} == {False}
