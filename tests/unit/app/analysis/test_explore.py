"""Groups, distributions, associations and calibration, and the sentences about them."""

import numpy as np
import pytest
from scipy import stats

from churnops.app.analysis.associations import associations, by_strength, pairs, summary
from churnops.app.analysis.explore import (
    NOT_KNOWN,
    OTHERS,
    calibration,
    calibration_advice,
    distribution,
    groups,
    stand_out,
)
from churnops.app.shared.sample import Variable
from churnops.app.shared.text import number
from churnops.evaluation.wilson import wilson


def a_variable(values, choices: tuple[str, ...] = (), name: str = "calls") -> Variable:
    return Variable(name, name.capitalize(), "", np.asarray(values, dtype=np.float64), choices)


def an_outcome(values) -> Variable:
    return Variable("churn", "Left", "", np.asarray(values, dtype=np.float64), ("No", "Yes"))


@pytest.mark.parametrize(("churned", "customers"), [(0, 5), (3, 10), (10, 10), (120, 1000)])
def test_rates_have_the_wilson_interval_that_scipy_gives(churned, customers):
    expected = stats.binomtest(churned, customers).proportion_ci(0.95, method="wilson")

    rate, low, high = wilson(churned, customers)

    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert rate == churned / customers


def test_a_rate_of_no_customers_has_the_interval_0_to_1():
    rate, low, high = wilson([0], [0])

    assert np.isnan(rate[0])
    assert (low[0], high[0]) == (0, 1)


def test_a_number_with_few_values_is_grouped_value_by_value():
    found = groups(a_variable([0, 1, 1, 4]), np.array([0, 1, 0, 1]))

    assert [(g.label, g.customers, g.churned) for g in found] == [("0", 1, 0), ("1", 2, 1), ("4", 1, 1)]


def test_a_number_with_many_values_is_cut_into_equally_large_groups(rng):
    values = rng.permutation(np.arange(800))
    found = groups(a_variable(values), (values >= 700).astype(float))

    assert [g.label for g in found][:2] == ["0 to 99", "100 to 199"]
    assert [g.customers for g in found] == [100] * 8
    assert [g.rate for g in found] == [0.0] * 7 + [1.0]


def test_a_very_frequent_value_is_a_group_and_others_stay_separate(rng):
    values = np.concatenate((np.arange(-10, 0), np.zeros(900), np.arange(1, 91)))
    found = groups(a_variable(values), rng.integers(0, 2, 1000))

    assert [g.label for g in found][:3] == ["-10 to -1", "0", "1 to 15"]
    assert [g.customers for g in found][:3] == [10, 900, 15]
    assert len(found) == 8
    assert sum(g.customers for g in found) == 1000


def test_customers_without_a_value_are_a_group_of_their_own():
    found = groups(a_variable([0, 1, np.nan, np.nan]), np.array([0, 1, 1, 0]))

    assert (found[-1].label, found[-1].customers, found[-1].churned) == (NOT_KNOWN, 2, 1)


def test_choices_are_ordered_by_falling_rate_with_rare_ones_together():
    choices = tuple(f"choice {i}" for i in range(30))
    values = np.repeat(np.arange(30), np.arange(1, 31))
    found = groups(a_variable(values, choices), (values % 2).astype(float))

    assert len(found) == 21
    assert (found[-1].label, found[-1].customers) == (OTHERS, sum(range(1, 11)))
    assert [g.rate for g in found[:-1]] == [1.0] * 10 + [0.0] * 10
    assert sum(g.customers for g in found) == values.size


def test_the_sentence_names_the_group_where_most_leave_for_sure():
    values = np.repeat([0.0, 1.0, 2.0], [500, 100, 2])
    outcome = np.concatenate((np.zeros(500), np.repeat([1, 0], 50), np.ones(2)))
    variable = a_variable(values)

    sentence = stand_out(variable, groups(variable, outcome), outcome.mean())

    assert sentence.startswith(
        "Customers with Calls 1 leave more often: 50 % of 100 left (40.4 % to 59.6 %), against 8.6 %"
    )


def test_the_sentence_reports_that_no_group_stands_out():
    variable = a_variable(np.tile([0.0, 1.0], 50))
    found = groups(variable, np.repeat([0, 1], 50))

    assert stand_out(variable, found, 0.5).startswith("Calls: no group stands out.")


def test_the_highest_of_many_groups_is_high_by_chance_and_no_finding(rng):
    claims = 0
    for _ in range(200):
        variable, outcome = a_variable(rng.integers(0, 12, 2000)), (rng.random(2000) < 0.15).astype(float)
        claims += stand_out(variable, groups(variable, outcome), 0.15).count("leave more often: ")

    assert claims <= 12  # with plain 95 % intervals about 50


def test_distributions_add_up_to_1_and_the_sentence_has_the_medians(rng):
    outcome = rng.integers(0, 2, 2000).astype(float)
    values = rng.normal(100 + 50 * outcome, 10)
    values[:5] = 1e9  # far outside: does not squeeze the rest into one interval
    found = distribution(a_variable(values), outcome)

    assert found.stayed.sum() == pytest.approx(1)
    assert found.churned.sum() == pytest.approx(1)
    assert found.edges[-1] < 1000
    assert len(found.labels) == found.edges.size - 1
    left, stayed = (number(float(np.median(values[outcome == known]))) for known in (1, 0))
    assert f"the median is {left} among those who left and {stayed} among those who stayed" in found.summary


def test_a_flags_distribution_names_the_choice_of_more_leavers():
    found = distribution(a_variable([0, 0, 1, 1], ("No", "Yes")), np.array([0, 0, 1, 0]))

    assert found.labels == ("No", "Yes")
    assert found.churned.tolist() == [0, 1]
    assert found.summary == "Calls: Yes for 100 % of those who left and 33.3 % of those who stayed."


def test_a_column_with_values_for_only_one_outcome_is_not_compared():
    found = distribution(a_variable([1, 2, np.nan]), np.array([0, 0, 1]))

    assert found.summary == "Calls: values are known for one outcome only."
    assert not np.isnan(found.churned).any()


def test_numbers_with_gaps_have_about_spearmans_correlation(rng):
    x = np.round(rng.normal(size=300), 1)
    y = x + rng.normal(size=300)
    x[::7] = np.nan
    known = ~np.isnan(x)
    found = associations([a_variable(x), a_variable(y)], an_outcome(rng.integers(0, 2, 300)))

    # Ranks are of all known values of a column, so with gaps it is equal up to little.
    assert found.strength[1, 2] == pytest.approx(stats.spearmanr(x[known], y[known]).statistic, abs=0.005)
    assert np.array_equal(found.strength, found.strength.T)
    assert np.diag(found.strength).tolist() == [1, 1, 1]


def test_without_gaps_it_is_spearman_exactly(rng):
    x, y = rng.integers(0, 5, 200), rng.integers(0, 2, 200)

    strength = associations([a_variable(x)], an_outcome(y)).strength[0, 1]

    assert strength == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_association_is_1_for_a_deciding_category_and_0_for_chance(rng):
    category = rng.integers(0, 50, 500)
    choices = tuple(map(str, range(50)))
    columns = [a_variable(category, choices), a_variable(category**2), a_variable(rng.random(500))]
    found = associations(columns, an_outcome(rng.integers(0, 2, 500)))

    assert found.strength[1, 2] == pytest.approx(1)
    assert found.strength[1, 3] < 0.15  # uncorrected it would be 0.32
    assert found.strength[1, 0] < 0.15


def test_two_categories_have_cramers_v_without_what_chance_gives(rng):
    one, other = rng.integers(0, 20, 400), rng.integers(0, 20, 400)
    choices = tuple(map(str, range(20)))
    columns = [a_variable(one, choices), a_variable((one + 3) % 20, choices), a_variable(other, choices)]
    found = associations(columns, an_outcome(rng.integers(0, 2, 400)))

    assert found.strength[1, 2] == pytest.approx(1)
    assert found.strength[1, 3] < 0.1
    table = np.zeros((20, 20), dtype=np.int64)
    np.add.at(table, (one, other), 1)
    assert stats.contingency.association(table, method="cramer") > 0.2


def test_constant_or_mostly_missing_columns_have_no_association():
    rare = np.full(50, np.nan)
    rare[:5] = np.arange(5)
    found = associations([a_variable(np.ones(50)), a_variable(rare)], an_outcome(np.tile([0, 1], 25)))

    assert np.isnan(found.strength[0, 1:]).all()


def test_columns_are_ordered_by_association_with_leaving(rng):
    outcome = rng.integers(0, 2, 500)
    columns = [
        a_variable(rng.random(500), name="noise"),
        a_variable(np.ones(500), name="constant"),
        a_variable(-outcome + 0.5 * rng.random(500), name="against"),
    ]

    assert [v.name for v in by_strength(columns, an_outcome(outcome))] == ["against", "noise", "constant"]


def test_the_sentence_and_the_table_name_nearly_equal_columns(rng):
    minutes, outcome = rng.random(500), rng.integers(0, 2, 500)
    columns = [
        a_variable(minutes, name="minutes"),
        a_variable(3 * minutes, name="charge"),
        a_variable(minutes + outcome, name="mixed"),
    ]
    found = associations(columns, an_outcome(outcome))

    assert summary(found).startswith("Customers who left differ most in Mixed (0.")
    assert summary(found).endswith("These columns hold nearly the same information: Minutes and Charge.")
    assert pairs(found)[0] == ("Minutes", "Charge", pytest.approx(1))
    assert [strength for _, _, strength in pairs(found)] == sorted((s for _, _, s in pairs(found)), reverse=True)


def test_calibrated_scores_are_called_reliable(rng):
    score = rng.random(5000)
    outcome = (rng.random(5000) < score).astype(float)
    found = calibration(outcome, score)

    assert [c.group.label for c in found][:2] == ["0 to 10 %", "10 to 20 %"]
    assert sum(c.group.customers for c in found) == 5000
    assert sum(c.group.churned for c in found) == outcome.sum()
    assert calibration_advice(found, 0.01).startswith("The probabilities are reliable")


@pytest.mark.parametrize(("power", "way"), [(0.3, "more left than expected"), (3, "fewer left than expected")])
def test_miscalibrated_scores_are_named_with_their_direction(rng, power, way):
    score = rng.random(5000)
    outcome = (rng.random(5000) < score**power).astype(float)

    sentence = calibration_advice(calibration(outcome, score), 0.1)

    assert way in sentence
    assert "expected calibration error" in sentence
    assert "groups differ by more than chance" in sentence


def test_few_customers_are_no_proof_of_bad_calibration():
    sentence = calibration_advice(calibration(np.array([0.0, 1.0]), np.array([0.4, 0.6])), 0.4)

    assert sentence.startswith("The probabilities are reliable")
