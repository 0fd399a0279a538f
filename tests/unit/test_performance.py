"""ROC-AUC against the threshold and the held-out evaluation; an unknown outcome is never "stayed"."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from churnops.evaluation.delong import delong, delong_difference
from churnops.evaluation.metrics import evaluate
from churnops.monitoring.batch import LabelCoverage, Resolved
from churnops.monitoring.budget import level
from churnops.monitoring.decline import judge_decline
from churnops.monitoring.performance import measure_performance
from churnops.settings import EvaluationSettings, MonitoringSettings, Settings

Floats = NDArray[np.float64]
SETTINGS = MonitoringSettings()
PLAIN = MonitoringSettings(correction="none")


def customers(rows: int, generator: np.random.Generator, *, rate: float = 0.145) -> tuple[Floats, Floats]:
    """Return outcomes and scores like those of the telecom table: four of five churners are found, nobody else is."""
    outcome = (generator.random(rows) < rate).astype(np.float64)
    noticed = (outcome == 1) & (generator.random(rows) < 0.82)
    return outcome, np.where(noticed, generator.uniform(0.8, 1.0, rows), generator.uniform(0.01, 0.1, rows))


def promise(rows: int = 667, seed: int = 0) -> dict[str, Any]:
    outcome, probability = customers(rows, np.random.default_rng(seed))
    return evaluate(outcome, probability, replicates=300, seed=seed).to_json()


PROMISE = promise()


def test_a_model_as_good_as_expected_is_not_below_the_line(rng: np.random.Generator):
    result = judge_decline(*customers(2000, rng), promised=PROMISE, churn_threshold=0.5, settings=SETTINGS)
    assert result.below is False
    assert result.promised == PROMISE["metrics"]["roc_auc"]["value"]
    assert result.line == pytest.approx(result.promised - 0.1)
    assert result.p_value is not None
    assert result.p_value > 0.01


def weak(rows: int, generator: np.random.Generator, *, separation: float) -> tuple[Floats, Floats]:
    """Return outcomes of which 5 % churn, and scores with a ROC-AUC of Phi(separation / sqrt 2)."""
    outcome = (generator.random(rows) < 0.05).astype(np.float64)
    return outcome, 1 / (1 + np.exp(-(separation * outcome + generator.normal(size=rows) - 3)))


@pytest.mark.parametrize(("separation", "certain"), [(0.84, False), (0.78, False), (0.4, True)])
def test_a_weak_model_may_lose_a_third_of_its_distance(separation: float, certain: bool):
    """ROC-AUC 0.72 was expected. 0.61 is half of the distance to 0.5, though only 0.11 lower."""
    generator = np.random.default_rng(3)
    outcome, probability = weak(10_000, generator, separation=0.84)
    promised = evaluate(outcome, probability, replicates=100, seed=0).to_json()
    expected = promised["metrics"]["roc_auc"]["value"]
    outcome, probability = weak(20_000, generator, separation=separation)
    result = judge_decline(outcome, probability, promised=promised, churn_threshold=0.5, settings=SETTINGS)
    assert result.line == pytest.approx(expected - (expected - 0.5) / 3)
    assert result.p_value is not None
    assert result.below == certain
    assert (result.p_value < level(100, 0.05)) == certain
    assert not certain or f"more than {(expected - 0.5) / 3:.3g} below the expected" in result.reason


def test_a_lost_relation_is_below_the_line_and_certain(rng: np.random.Generator):
    """300 outcomes suffice: more are predicted wrongly than in the evaluation, which ROC-AUC alone would not prove."""
    outcome, probability = customers(300, rng)
    lost = rng.random(300) < 0.5
    outcome[lost] = rng.permutation(outcome[lost])
    result = judge_decline(outcome, probability, promised=PROMISE, churn_threshold=0.5, settings=SETTINGS)
    assert result.below
    assert result.p_value is not None
    assert result.p_value < 1e-6
    without = judge_decline(
        outcome, probability, promised=PROMISE | {"confusion": None}, churn_threshold=0.5, settings=SETTINGS
    )
    assert without.p_value is not None
    assert without.p_value > result.p_value


def test_the_threshold_and_the_expected_auc_are_two_tests(rng: np.random.Generator):
    strict = MonitoringSettings(performance_threshold=0.97)
    result = judge_decline(*customers(2000, rng), promised=PROMISE, churn_threshold=0.5, settings=strict)
    assert [(test.name, test.below) for test in result.tests] == [("threshold", True), ("expected", False)]
    assert (result.line, result.below) == (0.97, True)
    assert result.tests[0].p_value is not None
    assert result.p_value == 2 * result.tests[0].p_value, "each test has half of the trigger's level"
    assert ", below the threshold of 0.97 (" in result.reason
    unpromised = judge_decline(*customers(2000, rng), promised=None, churn_threshold=0.5, settings=strict)
    assert (unpromised.line, unpromised.below, unpromised.promised) == (0.97, True, None)
    assert unpromised.p_value is not None
    assert unpromised.p_value < 0.01


def test_a_threshold_above_the_expected_auc_fires():
    """The evaluation gave 0.928 and production gives 0.928: "as expected", and certainly below 0.96."""
    generator = np.random.default_rng(1)
    outcome = (generator.random(1667) < 0.145).astype(np.float64)
    probability = 1 / (1 + np.exp(-(2.07 * outcome + generator.normal(size=1667) - 3)))
    promised = evaluate(outcome, probability, replicates=100, seed=1).to_json()
    strict = MonitoringSettings(performance_threshold=0.96)
    result = judge_decline(outcome, probability, promised=promised, churn_threshold=0.5, settings=strict)
    assert result.below
    assert result.p_value is not None
    assert result.p_value < level(1, SETTINGS.false_alarm_budget)


def test_a_low_expected_auc_is_no_reason_for_silence(rng: np.random.Generator):
    """A model with an expected ROC-AUC of 0.74 falls to 0.5: the line is 0.66, whatever the threshold."""
    outcome = (rng.random(4000) < 0.2).astype(np.float64)
    good, bad = (1 / (1 + np.exp(-(shift * outcome + rng.normal(size=4000) - 2))) for shift in (0.91, 0.0))
    promised = evaluate(outcome, good, replicates=100, seed=1).to_json()
    result = judge_decline(outcome, bad, promised=promised, churn_threshold=0.5, settings=SETTINGS)
    assert result.below
    assert result.p_value is not None
    assert result.p_value < 1e-6
    assert "more than 0.0783 below the expected 0.735" in result.reason


def test_an_uncertain_decline_names_the_outcomes_that_are_needed(rng: np.random.Generator):
    outcome = np.repeat([1.0, 0.0], [30, 170])
    probability = 1 / (1 + np.exp(-(0.9 * outcome + rng.normal(size=200) - 2)))
    auc = delong(outcome, probability)
    settings = MonitoringSettings(performance_threshold=auc.value + 0.03)
    result = judge_decline(outcome, probability, promised=None, churn_threshold=0.5, settings=settings)
    certain = level(1, settings.false_alarm_budget)
    more = result.more_outcomes(certain)
    assert more is not None
    assert result.p_value is not None
    assert result.p_value > certain
    copies = 1 + math.ceil(more / 200)  # the same customers again: nearly the same ROC-AUC, with less error
    again = judge_decline(
        np.tile(outcome, copies), np.tile(probability, copies), promised=None, churn_threshold=0.5, settings=settings
    )
    assert again.p_value is not None
    assert again.p_value <= 1.2 * certain


@pytest.mark.parametrize("separation", [0.87, 2.0])
def test_a_changed_churn_rate_alone_is_no_decline(separation: float):
    """ROC-AUC 0.73 and 0.92; the churn rate moves from 5.2 to 8 %. More predictions are wrong; p is rarely small."""
    generator = np.random.default_rng(4)

    def drawn(rows: int, rate: float) -> tuple[Floats, Floats]:
        outcome = (generator.random(rows) < rate).astype(np.float64)
        return outcome, 1 / (1 + np.exp(-(separation * outcome + generator.normal(size=rows) - 1.5)))

    small, batches = 0, 300
    for _ in range(batches):
        promised = _evaluated(*drawn(2000, 0.052))
        result = judge_decline(*drawn(2000, 0.08), promised=promised, churn_threshold=0.5, settings=SETTINGS)
        assert result.p_value is not None
        small += result.p_value < 0.01
    assert small <= 0.02 * batches


def _evaluated(outcome: Floats, probability: Floats) -> dict[str, Any]:
    """Return the parts of an evaluation's document that the verdict needs, without the bootstrap."""
    auc, flagged, left = delong(outcome, probability), probability >= 0.5, outcome == 1.0
    confusion = {
        "tp": int((flagged & left).sum()),
        "fn": int((~flagged & left).sum()),
        "fp": int((flagged & ~left).sum()),
        "tn": int((~flagged & ~left).sum()),
    }
    metrics = {"roc_auc": {"value": auc.value, "low": auc.low, "high": auc.high}}
    return {
        "metrics": metrics,
        "confidence": 0.95,
        "rows": outcome.size,
        "threshold": 0.5,
        "confusion": confusion,
    }


@pytest.mark.parametrize(("churned", "stayed"), [(0, 300), (9, 300), (300, 9), (0, 0)])
def test_few_outcomes_cannot_tell(churned: int, stayed: int, rng: np.random.Generator):
    outcome = np.repeat([1.0, 0.0, np.nan], [churned, stayed, 50])
    result = judge_decline(outcome, rng.random(outcome.size), promised=PROMISE, churn_threshold=0.5, settings=SETTINGS)
    assert (result.below, result.p_value) == (None, None)
    assert result.reason == (
        f"{churned + stayed} outcomes are known ({churned} churned, {stayed} stayed); 10 of each are needed"
    )


def test_an_unknown_outcome_is_left_out(rng: np.random.Generator, settings: Settings):
    outcome, probability = customers(800, rng)
    known = np.where(np.arange(800) < 400, outcome, np.nan)
    coverage = LabelCoverage(500, 400)
    arguments: dict[str, Any] = {
        "promised": PROMISE,
        "churn_threshold": 0.5,
        "settings": settings.model_copy(update={"evaluation": EvaluationSettings(bootstrap_replicates=100)}),
    }
    result = measure_performance(Resolved(probability, known, coverage), **arguments)
    assert result == measure_performance(Resolved(probability[:400], outcome[:400], coverage), **arguments)
    assert result.evaluation is not None
    assert result.decline.auc is not None
    assert result.decline.auc.value == pytest.approx(result.evaluation.metrics["roc_auc"].value)
    assert result.coverage is coverage
    nobody = measure_performance(Resolved(probability, np.full(800, np.nan), coverage), **arguments)
    assert (nobody.evaluation, nobody.decline.below) == (None, None)


def test_the_plain_rule_compares_with_the_threshold_alone(rng: np.random.Generator):
    outcome, probability = customers(40, rng)
    for threshold, below in ((0.5, False), (0.999, True)):
        settings = MonitoringSettings(correction="none", performance_threshold=threshold)
        result = judge_decline(outcome, probability, promised=PROMISE, churn_threshold=0.5, settings=settings)
        assert (result.line, result.below, result.p_value) == (threshold, below, None)


def test_one_score_for_everybody_is_judged_by_wrong_predictions(rng: np.random.Generator):
    outcome = customers(400, rng)[0]
    result = judge_decline(outcome, np.full(400, 0.3), promised=PROMISE, churn_threshold=0.5, settings=SETTINGS)
    assert result.below
    assert result.p_value is not None
    assert result.p_value < 1e-6
    settings = MonitoringSettings(performance_threshold=0.75)
    unpromised = judge_decline(outcome, np.full(400, 0.3), promised=None, churn_threshold=0.5, settings=settings)
    assert (unpromised.below, unpromised.p_value) == (True, None)


def test_perfect_scores_and_promises_have_a_p_value(rng: np.random.Generator):
    outcome, probability = customers(300, rng)
    perfect = evaluate(outcome, outcome, replicates=100, seed=1).to_json()
    above = judge_decline(outcome, outcome, promised=PROMISE, churn_threshold=0.5, settings=SETTINGS)
    assert (above.below, above.p_value) == (False, 1.0)
    below = judge_decline(outcome, probability, promised=perfect, churn_threshold=0.5, settings=SETTINGS)
    assert below.p_value is not None
    assert below.p_value < 0.01


@pytest.mark.parametrize("document", [None, {}, {"metrics": {"roc_auc": {"value": None, "low": None, "high": None}}}])
def test_a_model_without_a_promise_is_judged_by_the_threshold(
    document: dict[str, Any] | None, rng: np.random.Generator
):
    settings = MonitoringSettings(performance_threshold=0.75)
    result = judge_decline(*customers(500, rng), promised=document, churn_threshold=0.5, settings=settings)
    assert (result.promised, result.line, result.below) == (None, 0.75, False)
    unlimited = judge_decline(*customers(500, rng), promised=document, churn_threshold=0.5, settings=SETTINGS)
    assert (unlimited.line, unlimited.below, unlimited.p_value) == (None, None, None)
    assert "no performance_threshold and no evaluation" in unlimited.reason


def test_p_values_of_an_unchanged_model_are_rarely_small():
    """300 outcomes with some 43 churners, each with a promise of its own: normal tails are good enough in log-odds."""
    generator = np.random.default_rng(3)
    promises = [promise(seed=seed) for seed in range(60)]
    p_values = []
    for document in promises:
        for _ in range(50):
            result = judge_decline(
                *customers(300, generator), promised=document, churn_threshold=0.5, settings=SETTINGS
            )
            assert result.p_value is not None
            p_values.append(result.p_value)
    for share in (0.05, 0.01):
        assert np.mean(np.array(p_values) <= share) <= 1.5 * share
    assert np.mean(np.array(p_values) <= 0.001) <= 0.002


def test_intervals_hold_the_truth():
    """Of 95 % intervals from 60 churners and 140 others, about 95 % hold the ROC-AUC that normal scores have."""
    generator = np.random.default_rng(5)
    outcome = np.repeat([1, 0], [60, 140])
    truth = 0.5 * math.erfc(-1.0 / 2)  # of scores one standard deviation apart: Phi(1 / sqrt(2))
    held = 0
    for _ in range(1000):
        result = delong(outcome, generator.normal(size=200) + outcome)
        held += result.low <= truth <= result.high
    assert 0.93 <= held / 1000 <= 0.97


@pytest.mark.parametrize(
    ("outcome", "probability", "message"),
    [([0, 1], [0.5], "shape"), ([0, 2], [0.1, 0.2], "neither 0 nor 1"), ([0, 1], [0.1, np.nan], "not finite")],
)
def test_delong_refuses_invalid_inputs(outcome: list[float], probability: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        delong(outcome, probability)
    with pytest.raises(ValueError, match=message):
        delong_difference(outcome, probability, probability)


def test_more_flagged_stayers_count_at_an_unchanged_error_rate(rng: np.random.Generator):
    """The evaluation missed 18 churners and flagged nobody wrongly; now nobody is missed, 15 are wrongly flagged."""
    outcome = np.repeat([1.0, 0.0], [87, 513])
    probability = np.where(np.arange(600) < 102, rng.uniform(0.8, 1.0, 600), rng.uniform(0.0, 0.1, 600))
    then = PROMISE | {"confusion": {"tn": 570, "fp": 0, "fn": 18, "tp": 79}, "rows": 667}
    result = judge_decline(outcome, probability, promised=then, churn_threshold=0.5, settings=SETTINGS)
    assert result.below is False
    assert "15 of 600 predictions are wrong, 16 were expected" in result.reason
    assert result.errors is not None
    assert result.errors.p_value < 0.001
