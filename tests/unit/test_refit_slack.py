"""Slack of the test of scores: how far fits of cross-validation are apart."""

import numpy as np
import pytest
from scipy.special import expit

from churnops.monitoring.drift import SLACK, model_slack
from churnops.training.refit_slack import refit_slack
from tests.support.mixed_table import trained

ROWS = 5_000
TRAINING = np.arange(ROWS) < 4_000
FOLDS = [(np.empty(0, int), np.arange(start, start + 1_000)) for start in range(0, 4_000, 1_000)]
LOG_ODDS = np.random.default_rng(6).normal(-2.0, 1.0, ROWS)


@pytest.mark.parametrize(("moved", "least", "most"), [(0.0, 0.1, 0.2), (0.2, 0.3, 0.5), (5.0, SLACK, SLACK)])
def test_the_slack_covers_a_fit_that_differs(moved: float, least: float, most: float):
    first_fold = np.arange(ROWS) < 1_000
    slack = refit_slack(expit(LOG_ODDS + moved * first_fold), TRAINING, FOLDS)
    assert least <= slack <= most


def test_with_few_rows_the_slack_is_the_largest():
    few = np.arange(ROWS) % 100 == 0
    assert refit_slack(np.where(few, expit(LOG_ODDS), np.nan), TRAINING, FOLDS) == SLACK


def test_scores_of_one_fit_cannot_be_compared():
    assert refit_slack(np.where(TRAINING, np.nan, expit(LOG_ODDS)), TRAINING, FOLDS) == SLACK


def test_a_trained_model_has_its_slack_and_keeps_its_hash():
    refit = trained()[1].refit
    assert 0.0 < model_slack(refit.metrics) <= SLACK
    assert refit.with_metadata(metrics={"score_slack": 0.0}, lineage={}).content_sha256 == refit.content_sha256


@pytest.mark.parametrize("slack", [None, "0.2", -0.1, 0.7, float("nan"), [0.2]])
def test_a_slack_that_is_no_slack_is_ignored(slack: object):
    assert model_slack({"score_slack": slack}) == SLACK
