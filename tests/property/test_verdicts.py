"""Properties of corrections, budgets, ROC-AUC and its errors for any numbers."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from churnops.data.profile import count_profile, fit_profile
from churnops.evaluation.delong import delong, delong_difference
from churnops.evaluation.metrics import point_metrics
from churnops.monitoring.budget import TRIGGERS, level
from churnops.monitoring.drift.exact import fisher_p_value
from churnops.monitoring.verdicts import benjamini_hochberg, judge_columns
from churnops.schema import Column, Schema
from churnops.settings import MonitoringSettings
from tests.support.monitoring import watched

Floats = NDArray[np.float64]
scores = st.lists(st.integers(0, 6).map(lambda step: step / 6) | st.floats(0, 1), min_size=2, max_size=25)


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.001, 0.999))
def test_adjusted_p_values_reject_what_the_step_up_procedure_rejects(p_values: list[float], q: float):
    ordered = sorted(p_values)
    # Compared as the code rounds, so that a p-value on the very line is on the same side of both.
    passing = [p for rank, p in enumerate(ordered, start=1) if p * len(ordered) / rank <= q]
    rejected = [p <= max(passing, default=-1.0) for p in p_values]
    assert (benjamini_hochberg(p_values) <= q).tolist() == rejected


@given(st.floats(0.001, 0.5), st.integers(1, 5000))
def test_any_number_of_looks_stays_within_the_budget(budget: float, looks: int):
    spent = TRIGGERS * math.fsum(level(look, budget) for look in range(1, looks + 1))
    assert spent <= budget
    assert spent == pytest.approx(budget * looks / (looks + 1))


@given(st.data())
def test_auc_and_its_error_are_those_of_all_pairs(data: st.DataObject):
    """DeLong's own definition: the mean over pairs, and the spread of its rows' and its columns' means."""
    probability = np.array(data.draw(scores))
    size = probability.size
    outcome = np.array(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    other = np.array(data.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size)))
    found, difference = delong(outcome, probability), delong_difference(outcome, probability, other)
    first, second = (pairs(outcome, p) for p in (probability, other))
    np.testing.assert_allclose(found.value, point_metrics(outcome, probability)["roc_auc"], atol=1e-12)
    if min(first.shape) < 2:
        assert math.isnan(found.standard_error)
        assert math.isnan(difference.standard_error)
        return
    error = all_pairs_error(first)
    told = error > 1e-12 and 0 < found.value < 1
    np.testing.assert_allclose(found.standard_error, error if told else np.nan, atol=1e-12)
    np.testing.assert_allclose(difference.value, (first - second).mean(), atol=1e-12)
    np.testing.assert_allclose(difference.standard_error, all_pairs_error(first - second), atol=1e-12)
    if told:
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert delong(outcome, probability, confidence=0.5).low >= found.low


def pairs(outcome: NDArray[np.int64], probability: Floats) -> Floats:
    gap = probability[outcome == 1][:, None] - probability[outcome == 0]
    return (np.sign(gap) + 1) / 2


def all_pairs_error(matrix: Floats) -> float:
    rows, columns = matrix.mean(axis=1), matrix.mean(axis=0)
    return math.sqrt(rows.var(ddof=1) / rows.size + columns.var(ddof=1) / columns.size)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_p_value_of_more_events_is_fishers_exact_test(count: int, rest: int, other: int, other_rest: int):
    expected = fisher_exact([[count, rest], [other, other_rest]], alternative="greater").pvalue
    found = fisher_p_value(np.array([[count, rest], [other, other_rest]]), "greater")
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("alike", [1, 5, 10], ids=["independent", "two blocks of five", "all the same"])
def test_evidence_over_all_columns_holds_under_any_dependence(alike: int):
    """800 batches in which nothing changed: no more than about one in ten has a p-value of at most a tenth."""
    generator = np.random.default_rng(11)
    names = [f"x{number}" for number in range(10)]
    schema = Schema(
        columns=(
            *(Column(name=name, kind="number") for name in names),
            Column(name="churn", kind="target", choices=("no", "yes")),
        )
    )

    def draw(rows: int) -> dict[str, Floats]:
        blocks = generator.normal(size=(10 // alike, rows))
        return {name: blocks[number // alike] for number, name in enumerate(names)}

    found = []
    for _ in range(40):
        reference = fit_profile(draw(400))
        batches = [count_profile(reference, draw(60)) for _ in range(20)]
        bundle = watched(schema, reference)
        found += [judge_columns(bundle, batch, MonitoringSettings()).p_value for batch in batches]
    p_values = np.array(found, dtype=np.float64)
    for level_ in (0.1, 0.02):  # three standard errors above
        assert (p_values <= level_).mean() <= level_ + 3 * math.sqrt(level_ / p_values.size)
    assert (p_values < 1.0).any()


def test_levels_fall_from_look_to_look():
    for budget, triggers in product((0.01, 0.05, 0.5), (1, 4)):
        assert all(a > b for a, b in pairwise(level(look, budget, triggers) for look in range(1, 200)))
    with pytest.raises(ValueError, match="counted from 1"):
        level(0, 0.05)
