"""Thresholds for an aim, against every possible threshold on data with ties."""

import numpy as np
import pytest
from numpy.typing import NDArray

from churnops.evaluation.threshold import (
    best_f1_threshold,
    chosen_threshold,
    profit_threshold,
    recall_threshold,
)
from churnops.settings import EvaluationSettings


def customers(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    outcome = rng.random(60) < 0.3
    return outcome, np.clip(rng.beta(2, 4, 60) + 0.2 * outcome, 0, 1).round(1)


def counts(outcome, probability, threshold: float) -> tuple[int, int]:
    flagged = probability >= threshold
    return int(flagged.sum()), int((flagged & outcome).sum())


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_is_better(seed: int):
    outcome, probability = customers(seed)
    every = [counts(outcome, probability, threshold) for threshold in [*np.unique(probability), 1.1]]
    churned = outcome.sum()
    flagged, hits = counts(outcome, probability, best_f1_threshold(outcome, probability))
    assert 2 * hits / (flagged + churned) == max(2 * h / (f + churned) for f, h in every)
    for share in (0.2, 0.75, 1.0):
        flagged, hits = counts(outcome, probability, recall_threshold(outcome, probability, share))
        assert hits >= share * churned
        assert flagged == min(f for f, h in every if h >= share * churned)
    for break_even in (0.1, 0.4, 0.95):
        flagged, hits = counts(outcome, probability, profit_threshold(outcome, probability, break_even))
        assert hits - break_even * flagged == pytest.approx(max(h - break_even * f for f, h in every))


def test_nobody_is_flagged_if_no_contact_pays():
    outcome, probability = np.array([False, True, False, False]), np.array([0.9, 0.5, 0.5, 0.1])
    assert counts(outcome, probability, profit_threshold(outcome, probability, 0.5)) == (0, 0)


def test_the_settings_choose_the_aim():
    outcome, probability = customers(1)
    given = {
        "f1": ({}, best_f1_threshold(outcome, probability)),
        "recall": ({"min_recall": 0.9}, recall_threshold(outcome, probability, 0.9)),
        "profit": ({"break_even": 0.6}, profit_threshold(outcome, probability, 0.6)),
    }
    assert len({threshold for _, threshold in given.values()}) == 3
    for aim, (numbers, threshold) in given.items():
        options = EvaluationSettings.model_validate({"threshold": "auto", "threshold_for": aim, **numbers})
        assert chosen_threshold(outcome, probability, options) == threshold
    assert chosen_threshold(outcome, probability, EvaluationSettings(threshold=0.3)) == 0.3


def test_without_churned_customers_the_threshold_is_a_half():
    nobody, probability = np.zeros(4, np.bool_), np.array([0.1, 0.2, 0.3, 0.4])
    assert best_f1_threshold(nobody, probability) == recall_threshold(nobody, probability, 0.8) == 0.5
