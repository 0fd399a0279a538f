"""Figures of the Analysis page contain the given data, and no text is executed."""

import numpy as np
import pytest

from churnops.app.analysis.associations import associations
from churnops.app.analysis.explore import calibration, distribution, groups
from churnops.app.analysis.figures import (
    associations_figure,
    calibration_figure,
    dependence_figure,
    distribution_figure,
    groups_figure,
    importance_figure,
)
from churnops.app.analysis.offer_figures import POINTS, gain_figure, lift_figure, profit_figure, shown_positions
from churnops.app.shared.sample import Drivers, Variable
from churnops.decision.profit import Offer, Ranking, Resamples, propose

ATTACK = "<img src=x onerror=alert(1)>"
OUTCOME = np.tile([0.0, 1.0, 1.0, 0.0], 50)
ATTACKED = Variable(ATTACK, ATTACK, ATTACK, np.tile([0.0, 1.0], 100), (ATTACK, "<b>Yes</b>"))
NUMBER = Variable("minutes", "Minutes", "", np.arange(200.0))


def shapes(figure) -> dict[str, object]:
    return {trace.name: trace for trace in figure.data}


def test_each_group_is_a_bar_with_an_interval_and_a_customer_count():
    found = groups(ATTACKED, OUTCOME)
    figure = groups_figure(found, 0.5)
    bar = figure.data[0]

    assert list(bar.x) == [group.rate for group in found]
    assert np.allclose(np.array(bar.x) + np.array(bar.error_x.array), [group.high for group in found])
    assert np.allclose(np.array(bar.x) - np.array(bar.error_x.arrayminus), [group.low for group in found])
    assert figure.layout.yaxis.ticktext[1].endswith("(100)")
    assert figure.layout.shapes[0].x0 == 0.5


def test_a_number_is_drawn_as_two_areas_and_a_choice_as_two_bars():
    areas = distribution_figure(distribution(NUMBER, OUTCOME), "Minutes")
    bars = distribution_figure(distribution(ATTACKED, OUTCOME), ATTACK)

    assert {trace.type for trace in areas.data} == {"scatter"}
    area = areas.data[0]
    assert area.x[0] == area.x[1]
    assert (area.y[0], area.y[-1]) == (0, 0)
    assert [trace.type for trace in bars.data] == ["bar", "bar"]
    assert [list(trace.y) for trace in bars.data] == [[0.5, 0.5], [0.5, 0.5]]


def test_the_square_of_associations_has_every_pair():
    found = associations([NUMBER, ATTACKED], Variable("churn", "Left", "", OUTCOME, ("No", "Yes")))
    figure = associations_figure(found)

    assert np.array(figure.data[0].z).shape == (3, 3)
    assert figure.data[0].customdata[1][0] == "Minutes and Left"
    assert list(figure.layout.yaxis.ticktext)[:2] == ["Left 1", "Minutes 2"]
    assert list(figure.layout.xaxis.ticktext) == ["1", "2", "3"]


def test_importance_is_the_mean_size_and_the_rest_is_one_bar():
    contributions = np.array([[4.0, 1.0, 1.0, -1.0], [-2.0, 1.0, -1.0, 1.0]])
    found = Drivers((ATTACKED, NUMBER, NUMBER, NUMBER), contributions, OUTCOME, "log-odds")
    figure = importance_figure(found, limit=2)

    assert list(figure.data[0].x) == [3.0, 1.0, 0.0]
    assert figure.layout.yaxis.ticktext[2] == "the other 2 together"
    assert "log-odds" in figure.layout.xaxis.title.text


def test_dependence_shows_every_known_customer_and_the_running_mean():
    values = np.array([1.0, 1.0, 2.0, np.nan])
    figure = dependence_figure(Variable("calls", "Calls", "", values), np.array([1.0, 3.0, -2.0, 9.0]), "probability")
    drawn = shapes(figure)

    assert sorted(drawn["raises the risk"].y) == [1, 3]
    assert list(drawn["lowers it"].y) == [-2]
    assert (list(drawn["mean"].x), list(drawn["mean"].y)) == ([1, 2], [2, -2])
    assert np.allclose(drawn["raises the risk"].x, 1, atol=0.2)  # spread, but never to the next value
    assert "probability" in figure.layout.yaxis.title.text


def test_a_categorys_dependence_names_its_choices():
    figure = dependence_figure(ATTACKED, OUTCOME, "log-odds")

    assert figure.layout.xaxis.ticktext[1] == "&lt;b&gt;Yes&lt;/b&gt;"


def test_calibration_draws_each_group_at_its_score_with_its_size(rng):
    score = rng.random(1000)
    found = calibration((rng.random(1000) < score).astype(float), score)
    figure = calibration_figure(found)

    assert list(figure.data[1].x) == [c.predicted for c in found]
    assert list(figure.data[1].y) == [c.group.rate for c in found]
    assert list(figure.data[2].y) == [c.group.customers for c in found]
    assert np.allclose(figure.data[2].x, np.arange(10) / 10 + 0.05)


def a_ranking(rng, rows: int = 2000) -> tuple[np.ndarray, np.ndarray, Ranking]:
    score = rng.random(rows)
    outcome = (rng.random(rows) < score).astype(float)
    return outcome, score, Ranking.of(outcome, score)


def test_gain_runs_from_nobody_to_everybody_and_marks_the_choice(rng):
    _, score, ranking = a_ranking(rng)
    figure = gain_figure(ranking, 0.1, 0.5)
    drawn = shapes(figure)

    assert (drawn["by score"].y[0], drawn["by score"].y[-1]) == (0, 1)
    assert drawn["chosen"].x == (0.1,)
    assert drawn["in force 0.5"].x[0] == (score >= 0.5).mean()


def test_lift_ends_at_1_and_agrees_with_gain(rng):
    *_, ranking = a_ranking(rng)
    drawn = shapes(lift_figure(ranking, 0.1))

    assert drawn["by score"].y[-1] == pytest.approx(1)
    assert drawn["chosen"].y[0] == pytest.approx(float(ranking.reached(0.1)) / 0.1)


def test_profit_is_drawn_at_few_thresholds_with_best_and_deployed(rng):
    outcome, score, ranking = a_ranking(rng)
    resamples = Resamples.of(outcome, score, replicates=50, seed=1)
    found = propose(ranking, resamples, Offer(10, 100, 0.5), 0.5, 0.95)
    positions = shown_positions(found)
    low, high = (band / ranking.rows * 1000 for band in resamples.band(found.offer, positions, 0.95))
    drawn = shapes(profit_figure(found, positions, low, high, 0.95))
    curve = drawn["expected profit"]

    assert positions.size <= POINTS + 4
    assert {0, found.best, found.deployed, ranking.thresholds.size - 1} <= set(positions.tolist())
    assert (curve.x[0], curve.x[-1], curve.y[-1]) == (0, 1, 0)
    assert max(curve.y) == drawn["best"].y[0] == found.profit[found.best]
    assert drawn["in force 0.5"].y[0] == found.profit[ranking.at(0.5)]
    assert (np.array(drawn["95 % interval"].y) >= np.array(drawn[None].y)).all()


def test_a_threshold_between_scores_has_the_profit_of_the_upper_one():
    outcome, score = np.array([0.0, 1.0]), np.array([0.2, 0.8])
    ranking = Ranking.of(outcome, score)
    found = propose(ranking, Resamples.of(outcome, score, replicates=5, seed=1), Offer(10, 100, 1), 0.5, 0.95)
    positions = shown_positions(found)
    curve = shapes(profit_figure(found, positions, np.zeros(3), np.zeros(3), 0.95))["expected profit"]

    assert curve.line.shape == "vh"  # up at a point, then flat to the next: between two points the second one's height
    assert list(curve.x) == [0, 0.2, 0.8, 1]
    assert list(curve.y) == [40_000, 40_000, 45_000, 0]


@pytest.mark.parametrize(
    "figure",
    [
        groups_figure(groups(ATTACKED, OUTCOME), 0.5),
        distribution_figure(distribution(ATTACKED, OUTCOME), ATTACK),
        associations_figure(associations([ATTACKED], Variable("churn", ATTACK, "", OUTCOME, ("No", "Yes")))),
        importance_figure(Drivers((ATTACKED,), np.ones((200, 1)), OUTCOME, "log-odds")),
        dependence_figure(ATTACKED, OUTCOME, "log-odds"),
    ],
)
def test_names_and_choices_are_text_in_every_figure(figure):
    document = figure.to_json()

    assert "<img" not in document
    assert "\\u003cimg" not in document
    assert "<b>" not in document
