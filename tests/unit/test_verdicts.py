"""Significant and big: what counts as drift of a column, of all columns, of scores and of labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from churnops.data.profile import ColumnProfile, count_profile, fit_profile
from churnops.monitoring.drift import SLACK
from churnops.monitoring.verdicts import FeatureDrift, judge_columns, judge_labels, judge_scores
from churnops.schema import Column, Schema
from churnops.settings import MonitoringSettings
from tests.support.monitoring import watched

Floats = NDArray[np.float64]
SETTINGS = MonitoringSettings()
PLAIN = MonitoringSettings(correction="none")
SCHEMA = Schema(
    columns=(
        *(Column(name=f"x{number}", kind="number", nullable=True) for number in range(8)),
        Column(name="bill", kind="number", required=False, nullable=True),
        Column(name="plan", kind="category", choices=("a", "b", "c", "d")),
        Column(name="churn", kind="target", choices=("no", "yes")),
    )
)


def customers(rows: int, generator: np.random.Generator) -> dict[str, Floats]:
    columns = {f"x{number}": generator.normal(size=rows) for number in range(8)}
    columns["bill"] = 2 * columns["x0"]
    columns["plan"] = generator.choice(3, rows, p=[0.6, 0.3, 0.1]).astype(np.float64)
    return columns


REFERENCE = fit_profile(customers(4000, np.random.default_rng(1)))
LINKED = {"bill": "x0"}


def judged(
    columns: Mapping[str, Floats], settings: MonitoringSettings = SETTINGS, linked: Mapping[str, str] = LINKED
) -> FeatureDrift:
    return judge_columns(watched(SCHEMA, REFERENCE, linked), count_profile(REFERENCE, columns), settings)


def moved(by: float, names: tuple[str, ...], rows: int = 1000, **others: Any) -> dict[str, Floats]:
    columns = customers(rows, np.random.default_rng(2))
    columns |= {name: columns[name] + by for name in names}
    return columns | others


def test_customers_like_those_of_the_reference():
    found = judged(moved(0.0, ()))
    assert (found.drifted, found.drift_rate, found.units) == ((), 0.0, 9)
    assert {column.name: column.linked_to for column in found.columns if column.linked_to} == LINKED
    assert found.p_value is not None
    assert found.p_value > 0.05
    assert all(column.adjusted_p_value is not None and column.drifted is False for column in found.columns)


def test_a_column_that_moved_far():
    found = judged(moved(0.5, ("x3",)))
    assert found.drifted == ("x3",)
    assert found.drift_rate == pytest.approx(1 / 9)
    (column,) = [column for column in found.columns if column.drifted]
    assert (column.test, column.kind) == ("ks", "number")
    assert column.effect == column.statistic
    assert column.p_value is not None
    assert column.adjusted_p_value is not None
    assert column.p_value < column.adjusted_p_value < 1e-10
    assert found.p_value is not None
    assert column.p_value < found.p_value < 1e-10


def test_many_rows_make_a_small_difference_significant_but_not_drift():
    found = judged(moved(0.1, ("x3",), rows=30_000))
    (column,) = [column for column in found.columns if column.name == "x3"]
    assert column.adjusted_p_value is not None
    assert column.adjusted_p_value < 1e-3
    assert column.effect is not None
    assert column.effect < SETTINGS.min_distance
    assert column.drifted is False
    assert column.reason.endswith(": too little to matter")
    assert judged(moved(0.1, ("x3",), rows=30_000), MonitoringSettings(min_distance=0.01)).drifted == ("x3",)


def test_few_rows_make_a_big_difference_insignificant():
    found = judged(moved(0.3, ("x3",), rows=40))
    (column,) = [column for column in found.columns if column.name == "x3"]
    assert column.effect is not None
    assert column.effect > SETTINGS.min_distance
    assert column.drifted is False


def test_a_determined_column_counts_once_with_its_determining_column():
    columns = moved(0.5, ("x0",))
    columns["bill"] = 2 * columns["x0"]
    together, apart = judged(columns), judged(columns, linked={})
    assert together.drifted == apart.drifted == ("x0", "bill")
    assert (together.drift_rate, together.units) == (pytest.approx(1 / 9), 9)
    assert (apart.drift_rate, apart.units) == (pytest.approx(2 / 10), 10)


def test_a_determined_column_that_drifts_alone_makes_the_two_drift():
    """A new price list: minutes as ever, other bills."""
    columns = moved(0.0, ())
    columns["bill"] = columns["bill"] * 3
    found = judged(columns)
    assert found.drifted == ("bill",)
    assert found.drift_rate == pytest.approx(1 / 9)


def test_missing_values_are_drift_of_their_own():
    columns = moved(0.0, ())
    columns["x5"] = np.where(np.arange(1000) % 10 == 0, np.nan, columns["x5"])
    found = judged(columns)
    (column,) = [column for column in found.columns if column.drifted]
    assert (column.name, column.test) == ("x5", "missing_rate")
    assert column.effect == pytest.approx(0.1)
    assert [finding.test for finding in column.findings] == ["ks", "missing_rate"]
    few = np.where(np.arange(1000) % 40 == 0, np.nan, columns["x4"])
    assert judged(moved(0.0, (), x4=few)).drifted == ()  # significant, but only 2.5 points


def test_a_column_without_any_value_drifted_by_that():
    found = judged(moved(0.0, (), x5=np.full(1000, np.nan)))
    (column,) = [column for column in found.columns if column.drifted]
    assert (column.name, column.test, column.effect) == ("x5", "missing_rate", 1.0)


@pytest.mark.parametrize("settings", [SETTINGS, PLAIN])
def test_later_dates_are_no_drift_but_missing_ones_are(settings: MonitoringSettings):
    names = ("signup", "payment")
    columns = (*(Column(name=name, kind="date", nullable=True) for name in names), *SCHEMA.columns)
    days = np.arange(20_000.0, 20_500.0)
    reference = {**REFERENCE, "signup": ColumnProfile.fit(days), "payment": ColumnProfile.fit(days)}
    later = {"signup": days + 365, "payment": np.where(days % 2, np.nan, days)}
    batch = count_profile(reference, moved(0.0, (), **later))
    found = judge_columns(watched(Schema(columns=columns), reference, LINKED), batch, settings)
    verdicts = {column.name: column.drifted for column in found.columns if column.name in names}
    assert verdicts == {"signup": None, "payment": True if settings is SETTINGS else None}


def test_unseen_and_shifted_categories():
    plan = moved(0.0, ())["plan"]
    unseen = judged(moved(0.0, (), plan=np.where(np.arange(1000) % 70 == 0, 3.0, plan)))
    assert unseen.drifted == ("plan",)
    assert [column.test for column in unseen.columns if column.drifted] == ["unseen_categories"]
    other = judged(moved(0.0, (), plan=np.where(np.arange(1000) % 3 == 0, 2.0, plan)))
    assert other.drifted == ("plan",)
    assert [column.test for column in other.columns if column.drifted] == ["chi_square"]


@pytest.mark.parametrize(("slack", "drifted"), [(SLACK, False), (0.2, True)])
def test_a_model_of_stable_fits_detects_smaller_shifts_of_its_scores(slack: float, drifted: bool):
    log_odds = np.random.default_rng(5).normal(-2.0, 1.0, 4000)
    reference = ColumnProfile.fit(expit(log_odds))
    found = [judge_scores(reference, reference.count(expit(log_odds + by)), SETTINGS, slack) for by in (0.15, 0.7)]
    assert [column.drifted for column in found] == [False, drifted]


@pytest.mark.parametrize("settings", [SETTINGS, PLAIN])
def test_levels_that_the_model_encodes_by_rates_have_a_test_more(settings: MonitoringSettings):
    cities = Column(name="city", kind="category", choices=tuple(map(str, range(60))))
    schema = Schema(columns=(cities, *SCHEMA.columns))
    rates = np.append(np.tile([0.1, 0.3], 30), [0.2, 0.2])
    reference = {**REFERENCE, "city": ColumnProfile.fit(np.arange(6000.0) % 60)}
    codes = np.arange(1000.0) % 60
    moved_up = np.where((codes % 2 == 0) & (np.arange(1000) % 100 < 45), codes + 1, codes)
    batch = count_profile(reference, moved(0.0, (), city=moved_up))
    tests = {}
    for known in ({}, {"city": rates}):
        judged_columns = judge_columns(watched(schema, reference, {}, known), batch, settings).columns
        (city,) = [column for column in judged_columns if column.name == "city"]
        tests[bool(known)] = {finding.test: finding for finding in city.findings}
    added = tests[True].keys() - tests[False].keys()
    assert added == (set() if settings is PLAIN else {"level_rates"})


def test_an_optional_column_missing_from_the_batch_cannot_be_told():
    columns = moved(0.5, ("x3",))
    del columns["bill"]
    found = judged(columns)
    (column,) = [column for column in found.columns if column.name == "bill"]
    assert (column.drifted, column.p_value, column.adjusted_p_value) == (None, None, None)
    assert found.units == 9
    absent = judge_columns(watched(SCHEMA, REFERENCE, LINKED), {}, SETTINGS)
    assert (absent.drift_rate, absent.units, absent.p_value) == (None, 0, None)
    assert {column.drifted for column in absent.columns} == {None}
    assert absent.reason == "no column has enough values"


def test_too_few_rows_cannot_tell():
    found = judged(moved(3.0, ("x3",), rows=20))
    assert (found.drift_rate, found.p_value, found.drifted) == (None, None, ())
    assert all(column.drifted is None and "30" in column.reason for column in found.columns)


def test_the_plain_rule_takes_one_test_a_column_and_nothing_else():
    columns = moved(0.1, ("x3",), rows=30_000)
    columns["x5"] = np.where(np.arange(30_000) % 10 == 0, np.nan, columns["x5"])
    found = judged(columns, PLAIN)
    assert "x3" in found.drifted
    assert "x5" not in found.drifted
    assert (found.units, found.p_value) == (10, None)
    for column in found.columns:
        assert [finding.test for finding in column.findings] == ["chi_square" if column.name == "plan" else "ks"]
        assert column.adjusted_p_value is None
        assert column.drifted == (column.p_value is not None and column.p_value < 0.05)
    assert judged(columns, MonitoringSettings(correction="none", drift_threshold=1e-300)).drifted == ()


def scores(rows: int, low: float) -> Floats:
    """Return scores of which all but a share `low` are 0.95, as a tree model gives them."""
    return np.where(np.arange(rows) < round(low * rows), 0.021, 0.95)


def test_scores_of_a_refit_are_no_drift_however_many_there_are():
    reference = ColumnProfile.fit(scores(3333, 0.85))
    same = judge_scores(reference, reference.count(scores(10_000, 0.85) + 0.004), SETTINGS, SLACK)
    assert (same.drifted, same.p_value) == (False, 1.0)
    moved = judge_scores(reference, reference.count(scores(1_000_000, 0.85) * 0.8), SETTINGS, SLACK)
    assert (moved.drifted, moved.p_value) == (False, 1.0)
    refit = judge_scores(reference, reference.count(scores(1_000_000, 0.81)), SETTINGS, SLACK)
    assert (refit.drifted, refit.p_value) == (False, 1.0)
    near = judge_scores(reference, reference.count(scores(1_000_000, 0.78)), SETTINGS, SLACK)
    assert near.p_value is not None
    assert near.p_value < 0.5  # significant beyond the tolerance, and not yet big
    assert near.drifted is False
    other = judge_scores(reference, reference.count(scores(1000, 0.65)), SETTINGS, SLACK)
    assert other.drifted
    assert other.effect == pytest.approx(0.2, abs=0.001)
    plain = judge_scores(reference, reference.count(scores(10_000, 0.85) + 0.004), PLAIN, SLACK)
    assert plain.drifted


def test_low_scores_that_triple_are_drift(rng: np.random.Generator):
    """Nearly all scores of a table with few churners are below 0.1, where bands of fixed width see no change."""
    before, now = (1 / (1 + np.exp(4.3 - shift - 0.35 * rng.normal(size=2000))) for shift in (0.0, 1.1))
    assert np.mean(now < 0.1) > 0.9
    reference = ColumnProfile.fit(before)
    changed = judge_scores(reference, reference.count(now), SETTINGS, SLACK)
    assert changed.drifted
    assert changed.effect is not None
    assert changed.effect > 0.3


def test_label_drift_is_a_change_of_the_churn_rate():
    reference = ColumnProfile.fit(np.repeat([0.0, 1.0], [2850, 483]))

    def judge(churned: int, rows: int, settings: MonitoringSettings = SETTINGS) -> Any:
        return judge_labels(
            "churn", reference, reference.count(np.repeat([0.0, 1.0], [rows - churned, churned])), settings
        )

    assert judge(145, 1000).drifted is False
    assert judge(230, 1000).drifted is True
    assert judge(17_000, 100_000).drifted is False  # significant, but 2.5 points
    assert judge(17_000, 100_000, PLAIN).drifted is True
    assert judge(10, 29).drifted is None
    assert (judge(230, 1000).name, judge(230, 1000).kind) == ("churn", "target")


def test_fewer_missing_values_than_before_are_drift_too():
    columns = customers(4000, np.random.default_rng(3))
    gaps = columns | {"x5": np.where(np.arange(4000) % 5 == 0, np.nan, columns["x5"])}
    reference = fit_profile(gaps)
    found = judge_columns(watched(SCHEMA, reference, LINKED), count_profile(reference, moved(0.0, ())), SETTINGS)
    (column,) = [column for column in found.columns if column.drifted]
    assert (column.name, column.test, column.effect) == ("x5", "missing_rate", pytest.approx(-0.2))
    assert column.reason == "0.0% of the values are missing; in the reference 20.0%: it drifted"
