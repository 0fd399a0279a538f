"""Decisions of the gate at each of its limits; its bounds equal those of other libraries."""

import json
import math
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats
from sklearn import metrics as reference

from churnops.pipelines.release import Release
from churnops.retraining.gain import bounds, corrected, labels_needed
from churnops.retraining.gate import MIN_OF_EACH, Decision, decide
from churnops.screens import show_promotion
from churnops.settings import RetrainingSettings

Floats = NDArray[np.float64]
NO_GUARDS = {"max_log_loss_increase": 1e9, "max_calibration_error_increase": 1.0}


def settings(**changes: object) -> RetrainingSettings:
    return RetrainingSettings.model_validate(changes)


def rivals(rows: int = 600, seed: int = 1, weak: float = 1.0) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Outcomes and probabilities of two calibrated models: one knows all the risk, one sees it through `weak` noise."""
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=rows)
    outcome = generator.random(rows) < 1 / (1 + np.exp(2.5 - 2.5 * risk))
    seen = risk + weak * generator.normal(size=rows)
    shrunk = 1 / (1 + weak**2)  # what is known of the risk, and the logistic of a normal mean
    poor = 1 / (1 + np.exp((2.5 - 2.5 * shrunk * seen) / math.sqrt(1 + 0.35 * 2.5**2 * (1 - shrunk))))
    return outcome, poor, 1 / (1 + np.exp(2.5 - 2.5 * risk))


def test_a_clear_gain_is_deployed_and_a_clear_loss_is_not() -> None:
    outcome, poor, good = rivals()
    found = decide(outcome, poor, good, settings(), seed=1)
    assert (found.verdict, found.deploy, found.labels_needed) == ("deploy", True, None)
    assert found.gain == pytest.approx(
        reference.roc_auc_score(outcome, good) - reference.roc_auc_score(outcome, poor), abs=1e-12
    )
    assert 0 < found.low < found.gain < found.high
    assert [guard.name for guard in found.guards if guard.held] == ["log_loss", "calibration_error"]
    assert f"{found.challenger:.4f} instead of {found.champion:.4f}" in found.reason
    assert f"600 customers ({int(outcome.sum())} churned)" in found.reason
    back = decide(outcome, good, poor, settings(), seed=1)
    assert (back.verdict, back.gain) == ("keep", -found.gain)
    assert "but more than 0.01 is required" in back.reason


def test_a_gain_on_few_labels_cannot_tell_and_names_labels_needed() -> None:
    outcome, poor, good = rivals(rows=250, seed=5, weak=0.45)
    found = decide(outcome, poor, good, settings(), seed=1)
    assert found.verdict == "cannot tell"
    assert found.low < 0 < 0.01 < found.gain
    assert found.labels_needed == labels_needed(
        found.gain, found.standard_error, 250, min_improvement=0.01, level=0.95, low=found.low
    )
    assert found.labels_needed > 250
    assert "so it is not proven; collect about " in found.reason
    assert found.reason.endswith("more labels")


def test_a_gain_below_the_minimum_cannot_be_told_or_promised_a_count() -> None:
    outcome, poor, good = rivals(rows=250, seed=5, weak=0.45)
    asked = settings(min_improvement=0.2)
    gain = decide(outcome, poor, good, asked, seed=1).gain
    for line, verdict in ((gain, "cannot tell"), (gain + 0.001, "cannot tell"), (0.2, "keep")):
        found = decide(outcome, poor, good, settings(min_improvement=line), seed=1)
        assert (found.verdict, found.labels_needed) == (verdict, None), found.reason


def test_a_proven_gain_does_not_excuse_a_broken_guard() -> None:
    outcome, poor, good = rivals()
    loud = good**0.25  # the same order, so the same ROC-AUC, and everybody near 1
    found = decide(outcome, poor, loud, settings(), seed=1)
    assert found.verdict == "keep"
    assert found.low > 0
    assert [guard.held for guard in found.guards] == [False, False]
    assert "log loss rises from" in found.reason
    assert "calibration error rises from" in found.reason
    one = decide(outcome, poor, loud, settings(**NO_GUARDS), seed=1)
    assert one.verdict == "deploy"
    assert one.gain == found.gain


def test_a_guard_holds_at_its_tolerance_and_breaks_above_it() -> None:
    outcome, poor, good = rivals()
    loud = good**0.25
    rise = next(guard.challenger - guard.champion for guard in decide(outcome, poor, loud, settings(), seed=1).guards)
    allowed = NO_GUARDS | {"max_log_loss_increase": rise}
    assert decide(outcome, poor, loud, settings(**allowed), seed=1).deploy
    allowed["max_log_loss_increase"] = math.nextafter(rise, 0.0)
    assert decide(outcome, poor, loud, settings(**allowed), seed=1).verdict == "keep"


def test_the_same_order_of_customers_is_no_gain() -> None:
    outcome, poor, _ = rivals()
    for line in (0.0, 0.01):
        found = decide(outcome, poor, poor**2, settings(min_improvement=line, **NO_GUARDS), seed=1)
        assert (found.verdict, found.gain, found.low, found.high) == ("keep", 0.0, 0.0, 0.0)
        assert found.reason.endswith("both models give the same scores")


@pytest.mark.parametrize(("churned", "stayed"), [(MIN_OF_EACH - 1, 300), (300, MIN_OF_EACH - 1)])
def test_too_few_rows_of_either_outcome_cannot_be_told_however_clear(churned: int, stayed: int) -> None:
    outcome = np.repeat([1, 0], [churned, stayed])
    found = decide(outcome, np.full(outcome.size, 0.5), 0.05 + 0.9 * outcome, settings(), seed=1)
    assert (found.verdict, found.low, found.high) == ("cannot tell", None, None)
    assert found.labels_needed == math.ceil(outcome.size * MIN_OF_EACH / (MIN_OF_EACH - 1))
    assert f"at least {MIN_OF_EACH} of each are needed; collect about 17 more labels" in found.reason
    more = np.repeat([1, 0], [max(churned, MIN_OF_EACH), max(stayed, MIN_OF_EACH)])
    assert decide(more, np.full(more.size, 0.5), 0.05 + 0.9 * more, settings(), seed=1).deploy


@pytest.mark.parametrize("confidence", [0.95, None])
@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss"])
@pytest.mark.parametrize("outcome", [[], [1] * 50, [0] * 50])
def test_one_outcome_or_no_rows_cannot_be_told_and_json_has_no_nan(
    outcome: list[int], metric: str, confidence: float | None
) -> None:
    rows = len(outcome)
    found = decide(
        outcome, np.full(rows, 0.2), np.full(rows, 0.4), settings(metric=metric, confidence=confidence), seed=1
    )
    assert (found.verdict, found.deploy, found.labels_needed) == ("cannot tell", False, None)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["verdict"] == "cannot tell"


def test_the_best_of_three_needs_more_than_one_challenger_does() -> None:
    outcome, poor, good = rivals(rows=300, seed=13, weak=0.6)
    alone, best = (decide(outcome, poor, good, settings(), compared=k, seed=1) for k in (1, 3))
    churned = int(outcome.sum())
    for found, level in ((alone, 0.95), (best, 1 - 0.05 / 3)):
        half = float(stats.t(min(churned, 300 - churned) - 1).ppf(level)) * found.standard_error
        assert (found.low, found.high) == pytest.approx((found.gain - half, found.gain + half), abs=1e-12)
    assert alone.verdict == "deploy"
    assert best.verdict == "cannot tell"
    assert "(95 % confidence, best of 3)" in best.reason


def test_the_plain_rule_looks_at_the_gain_alone() -> None:
    outcome, poor, good = rivals(rows=250, seed=5, weak=0.45)
    gated = decide(outcome, poor, good, settings(), seed=1)
    plain = settings(confidence=None, max_log_loss_increase=0, max_calibration_error_increase=0)
    found = decide(outcome, poor, good**0.25, plain, seed=1)
    assert (gated.verdict, found.verdict, found.guards, found.low) == ("cannot tell", "deploy", (), None)
    line = settings(confidence=None, min_improvement=found.gain)
    assert decide(outcome, poor, good, line, seed=1).verdict == "keep"
    assert decide([1, 0, 0], [0.1, 0.2, 0.3], [0.9, 0.2, 0.3], plain, seed=1).deploy


def test_log_loss_is_judged_by_the_mean_of_the_customers_differences() -> None:
    outcome, poor, good = rivals()
    found = decide(outcome, poor, good, settings(metric="log_loss"), seed=1)
    before, after = (-np.log(np.where(outcome, p, 1 - p)) for p in (poor, good))
    assert found.gain == pytest.approx(reference.log_loss(outcome, poor) - reference.log_loss(outcome, good))
    assert found.standard_error == pytest.approx(stats.sem(before - after))
    assert found.verdict == "deploy"
    assert [guard.name for guard in found.guards] == ["calibration_error"]
    assert found.min_improvement == 0.005


def test_average_precision_is_compared_by_a_seeded_paired_bootstrap() -> None:
    outcome, poor, good = rivals(rows=300)
    found = decide(outcome, poor, good, settings(metric="average_precision"), seed=1)
    ours = reference.average_precision_score(outcome, good) - reference.average_precision_score(outcome, poor)
    assert found.gain == pytest.approx(ours, abs=1e-12)
    generator, replicated = np.random.default_rng(7), []
    for _ in range(400):
        drawn = generator.integers(300, size=300)
        before, after = (reference.average_precision_score(outcome[drawn], p[drawn]) for p in (poor, good))
        replicated.append(after - before)
    assert found.standard_error == pytest.approx(np.std(replicated, ddof=1), rel=0.15)
    assert found == decide(outcome, poor, good, settings(metric="average_precision"), seed=1)
    assert (
        found.standard_error != decide(outcome, poor, good, settings(metric="average_precision"), seed=2).standard_error
    )


def test_an_overconfident_equal_model_is_seldom_called_better() -> None:
    """It gains a little nearly everywhere and loses much on a few: exactly nothing on average here."""
    generator = np.random.default_rng(1)
    many, once = 20_000, 400
    outcome = np.arange(many) % 5 == 0
    sure = np.where(outcome, 0.995, 0.005)
    wrong = generator.random(many) < 0.015
    sure[wrong] = 1 - sure[wrong]
    loss = float(-np.log(np.where(outcome, sure, 1 - sure)).mean())
    cautious = np.where(outcome, math.exp(-loss), 1 - math.exp(-loss))
    called = 0
    for _ in range(400):
        drawn = generator.integers(many, size=once)
        rule = settings(metric="log_loss", min_improvement=0, **NO_GUARDS)
        called += decide(outcome[drawn], cautious[drawn], sure[drawn], rule, seed=1).deploy
    assert called / 400 <= 0.05


def test_skewness_only_ever_moves_a_bound_out_and_mirrors() -> None:
    low, high = bounds(0.03, 0.01, 97, level=0.95)
    for skewness in (-1.0, -0.3, 0.3, 1.0):
        skewed = bounds(0.03, 0.01, 97, skewness, level=0.95)
        assert (skewed[0] < low, skewed[1] > high) == (skewness < 0, skewness > 0)
        mirrored = bounds(-0.03, 0.01, 97, -skewness, level=0.95)
        assert mirrored == pytest.approx((-skewed[1], -skewed[0]), abs=1e-15)


def test_a_bound_moved_by_a_confident_miss_needs_more_labels() -> None:
    outcome = np.arange(300) < 41
    champion, challenger = np.where(outcome, 0.6, 0.15), np.where(outcome, 0.9, 0.05)
    challenger[0] = 1e-3
    found = decide(outcome, champion, challenger, settings(metric="log_loss"), seed=1)
    assert found.verdict == "cannot tell"
    normal = labels_needed(found.gain, found.standard_error, 300, min_improvement=0.005, level=0.95)
    assert normal < 300 < found.labels_needed
    assert re.search(r"collect about [\d,]+ more labels$", found.reason)


@pytest.mark.parametrize(("gain", "error", "compared"), [(0.02, 0.02, 1), (0.05, 0.03, 1), (0.0125, 0.004, 3)])
def test_nine_in_ten_samples_with_the_needed_labels_are_deployed(gain: float, error: float, compared: int) -> None:
    asked = 0.01
    needed = labels_needed(gain, error, 500, min_improvement=asked, level=corrected(0.95, compared))
    assert needed is not None
    then = error * math.sqrt(500 / needed)
    line = max(asked, float(stats.norm.ppf(1 - 0.05 / compared)) * then)
    assert stats.norm.sf(line, gain, then) == pytest.approx(0.9, abs=0.002)
    again = labels_needed(gain, then, needed, min_improvement=asked, level=corrected(0.95, compared))
    assert again == pytest.approx(needed, abs=1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([0, 1], [0.1, 0.2], [0.1]), "give three arrays of shape"),
        (([[0, 1]], [[0.1, 0.2]], [[0.1, 0.2]]), "give three arrays of shape"),
        (([0, 2], [0.1, 0.2], [0.1, 0.2]), "1 for churned"),
        (([0, math.nan], [0.1, 0.2], [0.1, 0.2]), "1 for churned"),
        (([0, 1], [0.1, 1.2], [0.1, 0.2]), "between 0 and 1"),
        (([0, 1], [0.1, 0.2], [0.1, math.nan]), "between 0 and 1"),
    ],
)
def test_invalid_comparisons_are_refused(given: tuple[list[float], ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decide(*given, settings(), seed=1)
    with pytest.raises(ValueError, match="at least 1"):
        decide([0, 1], [0.1, 0.2], [0.1, 0.2], settings(), compared=0, seed=1)


def test_json_contains_the_whole_decision() -> None:
    outcome, poor, good = rivals()
    found = decide(outcome, poor, good, settings(), seed=1)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(document) == set(Decision.__dataclass_fields__)
    assert document["guards"][0] == {
        "name": "log_loss",
        "champion": found.guards[0].champion,
        "challenger": found.guards[0].challenger,
        "tolerance": 0.01,
        "held": True,
    }


@pytest.mark.parametrize(("status", "words"), [("deployed", "overruled by --force"), ("refused", "the champion stays")])
def test_a_promotion_shows_what_became_of_the_verdict(status, words: str) -> None:
    nobody = np.empty(0)
    decision = decide(nobody, nobody, nobody, RetrainingSettings(), seed=1)
    console = Console(record=True, width=200)
    show_promotion(Release(status, 2, "xgboost-0123", None, "a test", decision), console)
    [line] = [line for line in console.export_text().splitlines() if line.startswith("gate cannot tell")]
    assert words in line
