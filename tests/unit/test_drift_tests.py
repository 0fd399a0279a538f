"""Drift tests: their sentences, their requirements, and changes that they must detect."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from churnops.data.profile import ColumnProfile
from churnops.monitoring import drift
from churnops.monitoring.drift import (
    Test,
    chi_square_test,
    ks_test,
    level_rate_test,
    missing_rate_test,
    rarity_test,
    unseen_category_test,
)
from churnops.monitoring.verdicts import MIN_LEVEL_RATES, MIN_RARITY
from churnops.schema import Column
from churnops.training.encode import FeatureKind, tree_encoding

Floats = NDArray[np.float64]
ALL = (ks_test, chi_square_test, missing_rate_test, unseen_category_test, rarity_test)
NOTHING = np.empty(0)
STATES = ColumnProfile.fit(np.repeat(np.arange(51.0), 52))


def nan(count: int) -> np.ndarray:
    return np.full(count, np.nan)


@pytest.mark.parametrize("test", ALL)
@pytest.mark.parametrize(("rows", "told"), [(0, False), (29, False), (30, True)])
def test_few_rows_cannot_tell(test: Test, rows: int, told: bool):
    reference = ColumnProfile.fit(np.arange(300.0))
    few = ColumnProfile.fit(np.arange(float(rows)))
    for side, found in (
        ("batch", test(reference, reference.count(np.arange(float(rows))))),
        ("reference", test(few, few.count(np.arange(300.0)))),
    ):
        assert (found.p_value is not None) == told
        assert (f"the {side} has {rows} " in found.reason) == (not told)


def test_values_that_are_all_missing_are_a_finding_of_their_own():
    reference = ColumnProfile.fit(np.arange(300.0))
    batch = reference.count(nan(500))
    for test in (ks_test, chi_square_test, unseen_category_test):
        assert test(reference, batch).reason == (
            "the batch has 0 values and 500 rows without one, at least 30 values are needed"
        )
    found = missing_rate_test(reference, batch)
    assert found.effect == 1.0
    assert found.p_value is not None
    assert found.p_value < 1e-100
    assert found.reason.startswith("100.0% of the values are missing; in the reference 0.0%")


def test_values_that_are_missing_less_often_are_a_difference_too():
    reference = ColumnProfile.fit(np.append(np.arange(200.0), nan(100)))
    found = missing_rate_test(reference, reference.count(np.arange(300.0)))
    assert found.effect == pytest.approx(-1 / 3)
    assert found.p_value is not None
    assert found.p_value < 1e-20


def test_one_value_only_is_no_difference():
    constant = ColumnProfile.fit(np.zeros(50))
    for test in (ks_test, chi_square_test):
        assert test(constant, constant).p_value == 1.0
    assert "one value only" in chi_square_test(constant, constant).reason


def test_a_constant_that_becomes_another_is_noticed():
    """A reference of one cell: all of the batch lies in the gap above it."""
    constant = ColumnProfile.fit(np.zeros(50))
    other = constant.count(np.ones(50))
    for test in (ks_test, chi_square_test, unseen_category_test):
        found = test(constant, other)
        assert found.p_value is not None
        assert found.p_value < 1e-12, found
    assert ks_test(constant, other).effect == 1.0


def test_a_batch_must_be_counted_in_the_references_cells():
    for test in (ks_test, chi_square_test, unseen_category_test):
        with pytest.raises(ValueError, match="cells of the reference"):
            test(ColumnProfile.fit(np.arange(100.0)), ColumnProfile.fit(np.arange(100.0) + 0.5))


def test_a_new_category_is_noticed_among_many(rng: np.random.Generator):
    """Ten rows of a thousand are nothing in 51 categories, but plain for a test that asks for new ones."""
    values = rng.integers(0, 51, 1000).astype(float)
    values[:10] = 60.0
    batch = STATES.count(values)
    found = unseen_category_test(STATES, batch)
    assert found.effect == 0.01
    assert found.statistic == 10
    assert found.p_value is not None
    assert found.p_value < 1e-5
    assert chi_square_test(STATES, batch).p_value > 0.01


def test_one_row_of_a_new_category_is_no_alarm_in_a_large_batch():
    reference = ColumnProfile.fit(np.repeat([0.0, 1.0], 500))
    found = unseen_category_test(reference, reference.count(np.append(np.repeat([0.0, 1.0], 500), 2.0)))
    assert found.p_value == pytest.approx(0.5, abs=0.001)


def test_drift_is_detected_with_few_rows_in_many_categories(rng: np.random.Generator):
    """No category of 51 is expected five times in 60 rows: the largest and all others are compared exactly."""
    states = ColumnProfile.fit(rng.integers(0, 51, 2666).astype(float))
    same = chi_square_test(states, states.count(rng.integers(0, 51, 60).astype(float)))
    assert same.statistic is None
    assert same.p_value > 0.05
    assert same.reason.endswith("50 rare values counted as one")
    reference = ColumnProfile.fit(np.append(np.repeat(np.arange(50.0), 10), np.full(500, 50.0)))
    moved = chi_square_test(reference, reference.count(np.append(np.arange(35.0), np.full(5, 50.0))))
    assert moved.p_value is not None
    assert moved.p_value < 1e-4


def test_tolerated_drift_is_no_finding_and_its_distance_is_shown():
    reference = ColumnProfile.fit(np.arange(1000.0))
    batch = reference.count(np.arange(1000.0) + 100)
    assert ks_test(reference, batch).p_value < 1e-4
    found = ks_test(reference, batch, tolerance=0.1)
    assert found.p_value == pytest.approx(1.0)
    assert found.effect == found.statistic == pytest.approx(0.1)
    assert found.reason == "the distributions are up to 0.100 apart"
    p_values = [ks_test(reference, batch, tolerance=t).p_value for t in (0.0, 0.02, 0.05, 0.08, 0.2)]
    assert p_values == sorted(p_values)


@pytest.mark.parametrize(
    ("kind", "tests"),
    [
        ("number", ["ks_test", "missing_rate_test"]),
        ("integer", ["ks_test", "missing_rate_test"]),
        ("category", ["chi_square_test", "unseen_category_test", "missing_rate_test"]),
        ("flag", ["chi_square_test", "missing_rate_test"]),
        ("date", ["missing_rate_test"]),
    ],
)
def test_each_kind_of_column_has_its_tests(kind: str, tests: list[str]):
    choices = ("no", "yes") if kind in ("category", "flag") else ()
    required, optional = (Column(name="x", kind=kind, choices=choices, required=r) for r in (True, False))
    assert [test.__name__ for test in drift.tests_for(required)] == tests
    assert [test.__name__ for test in drift.tests_for(optional)] == tests[:-1]


def test_a_category_with_many_choices_is_tested_for_rare_ones():
    many = Column(name="city", kind="category", choices=tuple(map(str, range(drift.MANY_CHOICES + 1))), required=False)
    names = [test.__name__ for test in drift.tests_for(many)]
    assert names == ["chi_square_test", "unseen_category_test", "rarity_test"]


@pytest.mark.parametrize("rows", [5_000, 20_000])
def test_customers_who_move_into_a_long_tail_are_detected(rows: int):
    rng = np.random.default_rng(3)
    shares = 1 / np.arange(1, 2834)
    shares /= shares.sum()
    tail = np.where(np.arange(2833) > 566, 1.0, 0.0)
    moved = 0.85 * shares + 0.15 * tail / tail.sum()
    detected = false = 0
    for _ in range(100):
        reference = ColumnProfile.fit(rng.choice(2833, rows, p=shares) * 1.0)
        clean, changed = (reference.count(rng.choice(2833, 2_000, p=p) * 1.0) for p in (shares, moved))
        false += rarity_test(reference, clean).p_value < 0.01
        finding = rarity_test(reference, changed)
        detected += finding.p_value < 0.001 and finding.effect >= MIN_RARITY
    assert detected >= 95
    assert false <= 4


def level_rates(codes: Floats, risk: Floats, rng: np.random.Generator) -> Floats:
    """Return the rates that a model learns from customers who churn with the risk of their level."""
    outcome = rng.random(codes.size) < risk[codes.astype(int)]
    return tree_encoding(codes[:, None], outcome, [FeatureKind(risk.size)], seed=0)[0].table


def test_customers_who_move_to_levels_of_other_rates_are_detected():
    """They move among the levels that are too small for the chi-square test, and stay at levels as frequent."""
    rng, codes = np.random.default_rng(4), np.arange(2833)
    shares = 1 / np.arange(3.0, 2836.0)
    shares /= shares.sum()
    moved = np.where(codes < 101, shares, 0.0)
    pairs = codes[101::2]
    risk = np.full(2833, 0.1)
    risk[pairs], risk[pairs + 1] = 0.05, 0.2
    moved[pairs + 1] = shares[pairs] + shares[pairs + 1]
    detected = by_others = 0
    for _ in range(20):
        training = rng.choice(codes, 20_000, p=shares) * 1.0
        reference, rates = ColumnProfile.fit(training), level_rates(training, risk, rng)
        batch = reference.count(rng.choice(codes, 2_000, p=moved) * 1.0)
        tests = partial(level_rate_test, rates=rates), rarity_test, chi_square_test
        rated, *others = (test(reference, batch) for test in tests)
        detected += rated.p_value < 0.001 and rated.effect >= MIN_LEVEL_RATES
        by_others += min(finding.p_value for finding in others) < 0.001
    assert detected >= 19
    assert by_others <= 1


@pytest.mark.parametrize(("exponent", "rows"), [(0.3, 5_000), (0.3, 20_000), (1.0, 20_000)])
def test_rates_learned_from_the_reference_are_no_shift(exponent: float, rows: int):
    """Also if most levels have a few rows, whose rates are chance; a test of the distributions rejects nearly all."""
    rng = np.random.default_rng(5)
    shares = 1 / np.arange(3.0, 2836.0) ** exponent
    shares /= shares.sum()
    p_values, distances = [], []
    for _ in range(4):
        training = rng.choice(2833, rows, p=shares) * 1.0
        reference, rates = ColumnProfile.fit(training), level_rates(training, rng.beta(2, 30, 2833), rng)
        encoded = np.append(rates[:-2], rates[-1])
        for size in (300, 2_000, 10_000) * 8:
            codes = rng.choice(2833, size, p=shares)
            p_values.append(level_rate_test(reference, reference.count(codes * 1.0), rates).p_value)
            distances.append(ks_2samp(encoded[training.astype(int)], encoded[codes], method="asymp").pvalue)
    assert sum(p <= 0.05 for p in p_values) <= 4
    assert exponent == 1.0 or sum(p <= 0.05 for p in distances) >= 40


def test_levels_without_a_rate_have_that_of_unknown_levels():
    reference = ColumnProfile.fit(np.repeat(np.arange(40.0), 50))
    rates = np.append(np.repeat([0.1, 0.2, 0.15], 10), [0.9, 0.15])  # for codes up to 29
    for codes, mean in ((np.full(100, 35.0), "12.5%"), (np.full(100, 99.0), "12.5%"), (nan(100), "10.0%")):
        finding = level_rate_test(reference, reference.count(np.append(codes, np.full(100, 5.0))), rates)
        assert finding.reason.startswith(f"mean churn rate of the levels, as the model has learned them: {mean}")


def test_one_rate_for_all_levels_is_no_difference():
    reference = ColumnProfile.fit(np.repeat(np.arange(40.0), 50))
    finding = level_rate_test(reference, reference.count(np.zeros(100)), np.full(42, 0.1))
    assert (finding.p_value, finding.effect) == (1.0, 0.0)


def test_drift_is_tested_without_heavy_libraries():
    heavy = ["scipy.stats", "pandas", "sklearn", "mlflow", "matplotlib"]
    code = f"import sys, churnops.monitoring.drift; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
