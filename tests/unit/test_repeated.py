"""Repeated cross-validation in place of a hold-out: who scores whom, the mean over the repeats, and the pages."""

import re
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from churnops.data.preprocess import PreparedTable
from churnops.data.skipped import Skipped
from churnops.evaluation.held_out import CARD, EvaluatedModels, evaluate_models
from churnops.evaluation.leaks import suspected_columns
from churnops.evaluation.metrics import evaluate, point_metrics
from churnops.evaluation.repeated import RepeatedScores
from churnops.model.reference import SCORE
from churnops.monitoring.decline import judge_decline
from churnops.schema import Column
from churnops.training.bundle_maker import BundleMaker
from churnops.training.candidate_searches import search_winner
from churnops.training.plan import main_plan
from churnops.training.repeated import REPEATS
from churnops.training.select import SelectedFeatures
from churnops.training.train import TrainedModels, train_models
from churnops.training.winner_refits import WinnerRefits
from tests.support.mixed_table import customers, prepare, settings

SETTINGS = settings(families=["logistic_regression", "decision_tree"])


@lru_cache(maxsize=1)
def small() -> tuple[PreparedTable, SelectedFeatures, TrainedModels, RepeatedScores]:
    prepared, features = prepare(*customers(240), SETTINGS)
    nobody = np.zeros(240, np.bool_)
    prepared = replace(prepared, held_out=nobody, training=~nobody)
    trained = train_models(prepared, features, SETTINGS)
    return prepared, features, trained, WinnerRefits(trained, prepared, features, SETTINGS).repeated()


@lru_cache(maxsize=1)
def evaluated() -> EvaluatedModels:
    prepared, features, trained, _ = small()
    bundles = {name: model.bundle for name, model in trained.models.items()}
    refit = trained.refit.with_metadata(metrics={}, lineage={})
    refits = WinnerRefits(trained, prepared, features, SETTINGS)
    given = (bundles, trained.winner, refit, prepared, SETTINGS)
    return evaluate_models(*given, skipped=Skipped(), left_out={}, refits=refits)


def test_the_outcomes_of_a_fold_play_no_part_in_its_scores():
    """Search, fit and threshold of a fold are the same if its customers are said to have left, and others to stay."""
    prepared, features, _, repeated = small()
    for number in (0, 9):
        scored = repeated.fold[0] == number
        changed = replace(prepared, outcome=np.where(scored, ~prepared.outcome, prepared.outcome), held_out=scored)
        maker = BundleMaker(replace(changed, training=~scored), features.build, SETTINGS)
        family, search = search_winner(maker, main_plan(maker.prepared, SETTINGS))
        expected = maker.scores(family, search.best, ~scored, scored)
        np.testing.assert_allclose(repeated.probability[0, scored], expected, rtol=1e-12)
        assert (repeated.threshold[0, scored] == maker.threshold(prepared.outcome[~scored], search.out_of_fold)).all()


def test_folds_differ_between_repeats_and_from_those_of_the_search():
    prepared, _, _, repeated = small()
    searched = np.empty(240)
    for number, (_, rows) in enumerate(main_plan(prepared, SETTINGS).folds):
        searched[rows] = number
    assert len({tuple(fold) for fold in [searched, *repeated.fold]}) == REPEATS + 1
    for fold in repeated.fold:
        churned = [prepared.outcome[fold == number].sum() for number in range(10)]
        assert max(churned) - min(churned) <= 1


def test_metrics_are_means_over_the_repeats_and_not_of_mean_scores():
    prepared, _, _, repeated = small()
    measured = point_metrics(prepared.outcome, repeated.probability, fold=repeated.fold)
    each = [point_metrics(prepared.outcome, scores) for scores in repeated.probability]
    assert measured["log_loss"] == pytest.approx(np.mean([metrics["log_loss"] for metrics in each]))
    assert measured["log_loss"] > point_metrics(prepared.outcome, repeated.probability.mean(axis=0))["log_loss"]


def test_roc_auc_compares_customers_of_the_same_fold():
    outcome = np.array([True, False, True, False])
    probability, fold = np.array([[0.2, 0.1, 0.9, 0.8]]), np.array([[0, 0, 1, 1]])
    assert point_metrics(outcome, probability)["roc_auc"] == 0.75
    assert point_metrics(outcome, probability, fold=fold)["roc_auc"] == 1.0
    assert evaluate(outcome, probability, fold=fold, seed=1).metrics["roc_auc"].value == 1.0


def test_intervals_are_wider_than_those_of_held_out_customers():
    prepared, _, _, repeated = small()
    given = {"replicates": 200, "seed": 1}
    wider = evaluate(prepared.outcome, repeated.probability, fold=repeated.fold, **given).metrics["brier"]
    plain = evaluate(prepared.outcome, repeated.probability, **given).metrics["brier"]
    assert wider.high - wider.low == pytest.approx((plain.high - plain.low) * np.sqrt(1 + 10 / 9))
    sure = evaluate([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], fold=np.array([[0, 0, 1, 1]]), seed=1).metrics["roc_auc"]
    assert (sure.low, sure.high) == (1.0, 1.0)


def test_the_deployed_model_is_fitted_on_all_rows():
    _, _, trained, _ = small()
    assert trained.refit.lineage["fits"]["deployed"]["rows"] == 240
    assert np.isin(trained.models[trained.winner].search.out_of_fold, trained.refit.reference[SCORE].points).all()


def test_without_held_out_rows_a_large_table_has_reference_scores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("churnops.training.recipe_search.MAX_SEARCHED_ROWS", 120)
    prepared, features, _, _ = small()
    refit = train_models(prepared, features, SETTINGS).refit
    assert refit.lineage["fits"]["deployed"]["rows"] == refit.reference[SCORE].rows == 240


def test_pages_and_results_name_the_method():
    result = evaluated()
    text = "repeated cross-validation, 3 x 10 folds"
    for page in ("evaluation.html", CARD):
        words = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", str(result.artifacts[page])))
        assert text in words
        assert not re.search("held[- ]out", words)
    assert result.summary.startswith(f"{result.winner} on 240 customers by {text}, ")
    document = result.bundle.metrics["held_out"]
    assert (document["repeats"], document["folds"], document["rows"]) == (3, 10, 240)
    assert result.evaluations.keys() == {result.winner}


def test_monitoring_compares_with_the_repeated_evaluation():
    result, (prepared, _, _, repeated) = evaluated(), small()
    decline = judge_decline(
        prepared.outcome.astype(float),
        1 - repeated.probability[0],
        promised=result.bundle.metrics["held_out"],
        churn_threshold=result.bundle.threshold,
        settings=SETTINGS.monitoring,
    )
    assert decline.promised == result.evaluations[result.winner].metrics["roc_auc"].value
    assert decline.below
    assert decline.errors is None


def test_a_leak_is_named_without_held_out_rows():
    prepared, _, _, repeated = small()
    column = Column(name="extra", kind="category", choices=tuple("abcdef"))
    codes = prepared.outcome * 3.0 + np.random.default_rng(0).integers(0, 3, 240)
    table = replace(prepared, columns={"extra": codes})
    [suspect] = suspected_columns(table, [column], repeated.folds())
    assert suspect.leaks
    alone = replace(prepared, columns={"extra": np.arange(240.0)})
    assert suspected_columns(alone, [column], repeated.folds()) == []


def test_the_score_without_a_suspect_has_the_same_folds():
    prepared, features, trained, repeated = small()
    scores = WinnerRefits(trained, prepared, features, SETTINGS).without({"city"})
    assert scores is not None
    assert scores.shape == repeated.probability.shape
