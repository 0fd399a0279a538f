"""The recipe for any table: it beats chance where it can, finds nothing in noise, and gives the same model twice."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from churnops.cluster import open_workers
from churnops.errors import SettingsError
from churnops.evaluation.importance import column_importance
from churnops.evaluation.metrics import point_metrics
from churnops.evaluation.threshold import best_f1_threshold
from churnops.features import Feature, FeatureMatrix, all_features
from churnops.schema import Column
from churnops.settings import FeatureSettings
from churnops.training import recipe, recipe_search
from churnops.training.blend_weights import blend_weights
from churnops.training.candidate_searches import Searched, choose_winner
from churnops.training.encode import FeatureKind, linear_encoding
from churnops.training.recipe import Params, Rows, fit_family, kinds_of
from churnops.training.recipe_search import RecipeSearch, capped, is_capped
from churnops.training.search import Search, Trial, stratified_folds
from churnops.training.train import train_models
from tests.support.mixed_table import CITIES, customers, prepare, settings, trained, with_cities

KINDS = tuple(map(FeatureKind, (0, 0, 4, CITIES, 0)))


def rows(count: int, seed: int = 0) -> Rows:
    columns, outcome = customers(count, seed)
    return Rows(np.column_stack(list(columns.values())), outcome)


def test_the_winner_scores_new_customers_better_than_chance():
    prepared, models = trained()
    columns, outcome = customers(4000, seed=11)
    metrics = point_metrics(outcome, models.refit.predict(columns).probability)
    assert metrics["roc_auc"] > 0.63
    assert metrics["log_loss"] < point_metrics(outcome, np.full(4000, outcome.mean()))["log_loss"] - 0.015
    assert set(models.models) == {"logistic_regression", "decision_tree", "random_forest", "xgboost", "blend"}
    assert np.isfinite(models.models[models.winner].search.out_of_fold).all()
    assert prepared.outcome.size == 1500


def test_a_category_that_is_one_feature_has_an_importance():
    refit = trained()[1].refit
    shares = column_importance(refit, None)
    assert set(shares) <= {column.name for column in refit.schema.model_inputs}
    assert sum(shares.values()) == pytest.approx(1.0)


def test_the_same_table_gives_the_same_bundle():
    prepared, first = trained()
    _, features = prepare(*customers(1500), settings())
    again = train_models(prepared, features, settings(threads=1))
    assert again.refit.content_sha256 == first.refit.content_sha256


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        ({"depth": 3, "share": 0.5}, [(3, 0.5), (4, 0.5), (2, 0.5), (3, 0.9)]),
        ({"depth": 6, "share": 0.9}, [(3, 0.5), (4, 0.5), (6, 0.5), (8, 0.5), (6, 0.9)]),
        ({"depth": 1, "share": 0.5}, [(3, 0.5), (4, 0.5), (2, 0.5), (1, 0.5), (1, 0.9)]),
    ],
)
def test_the_search_walks_up_as_long_as_it_helps_or_else_down(
    monkeypatch: pytest.MonkeyPatch, best: Params, tried: Any
):
    ladders = [[{"depth": depth} for depth in (1, 2, 3, 4, 6, 8)], [{"share": 0.5}, {"share": 0.9}], [{"share": 7}]]
    family = recipe.RecipeFamily("trees", {"depth": 3, "share": 0.5}, ladders)
    monkeypatch.setattr(recipe_search, "FAMILIES", {"xgboost": family})

    def trial(search: RecipeSearch, name: str, params: Params) -> Any:
        loss = sum(abs(params[key] - best[key]) for key in best)
        return Trial(dict(params), ({"log_loss": loss},)), np.zeros(1)

    monkeypatch.setattr(RecipeSearch, "_trial", trial)
    empty = FeatureMatrix([Column(name="a", kind="number")], [Feature("a", "a", "")], ["a"]), (), {}, np.zeros(1), []
    with open_workers("", 1) as workers:
        whole, short = (RecipeSearch(*empty, "log_loss", 0, workers).search("xgboost", trials) for trials in (9, 3))
    assert [tuple(trial.params.values()) for trial in whole.trials] == tried
    assert [tuple(trial.params.values()) for trial in short.trials] == tried[:3]
    assert whole.best.params == best


def test_two_folds_compare_settings_of_many_rows(monkeypatch: pytest.MonkeyPatch):
    columns, outcome = customers(600, seed=4)
    schema = with_cities(30)
    columns["city"] = np.arange(600.0) % 30
    build = FeatureMatrix(schema.model_inputs, all_features(schema, FeatureSettings(), one_hot=False), list(columns))
    folds = stratified_folds(outcome, 4, 1)

    def search(few_rows: int) -> Search:
        monkeypatch.setattr(recipe_search, "FEW_ROWS", few_rows)
        with open_workers("", 1) as workers:
            validation = RecipeSearch(build, kinds_of(build, {}), columns, outcome, folds, "log_loss", 1, workers)
            return validation.search("logistic_regression", 3)

    whole, short = search(600), search(599)
    assert [len(trial.folds) for trial in short.trials] == [2, 2, 2]
    assert short.best.folds == next(t for t in whole.trials if t.params == short.best.params).folds
    assert not np.isnan(short.out_of_fold).any()


def test_shuffled_outcomes_have_no_skill():
    """A column of 2,800 levels, and outcomes that nothing predicts: out-of-fold scores are worth a coin."""
    rng = np.random.default_rng(4)
    columns, outcome = customers(10_000, seed=4)
    columns["city"] = rng.integers(0, 2800, 10_000).astype(float)
    shuffled, schema = rng.permutation(outcome), with_cities(2800)
    build = FeatureMatrix(schema.model_inputs, all_features(schema, FeatureSettings(), one_hot=False), list(columns))
    folds = stratified_folds(shuffled, 5, 1)
    with open_workers("", 1) as workers:
        search = RecipeSearch(build, kinds_of(build, {}), columns, shuffled, folds, "log_loss", 1, workers)
        for family in ("logistic_regression", "stumps", "xgboost", "blend"):
            area = point_metrics(shuffled, search.search(family, 10).out_of_fold)["roc_auc"]
            assert abs(area - 0.5) < 0.02, family


@pytest.mark.parametrize("family", ["stumps", "xgboost"])
def test_boosted_trees_are_the_average_of_xgboosts(family: str):
    table, params = rows(800), {**recipe.FAMILIES[family].default, "n_estimators": 30, "searched_rows": 800}
    blend = fit_family(family, params, table, KINDS, seed=1)
    [part] = blend.parts
    encoded = recipe.encode("trees", table, KINDS, 1)
    boosters = recipe._boosters(encoded, params, 1)
    assert len(boosters) == recipe.SEEDS
    matrix = xgboost.DMatrix(part.encoding(table.matrix))
    theirs = np.mean([booster.predict(matrix, output_margin=True) for booster in boosters], axis=0)
    np.testing.assert_allclose(blend.scores(table.matrix), theirs, rtol=0, atol=1e-5)


def test_a_linear_part_is_scikit_learns():
    table = rows(800)
    blend = fit_family("logistic_regression", {"C": 0.3}, table, KINDS, seed=1)
    encoding, matrix = linear_encoding(table.matrix, table.outcome, KINDS, 1)
    scale = np.where(encoding.kind == 2, 1.0, matrix.std(axis=0))
    scale[scale == 0.0] = 1.0
    theirs = LogisticRegression(C=0.3, tol=1e-8, max_iter=10_000).fit(matrix / scale, table.outcome)
    expected = theirs.decision_function(encoding(table.matrix) / scale)
    np.testing.assert_allclose(blend.scores(table.matrix), expected, rtol=0, atol=2e-3)


def test_rows_of_weight_zero_play_no_part():
    table = rows(900)
    weight = (np.arange(900) < 600).astype(float)
    weight[0] = 2.0
    for family in ("logistic_regression", "decision_tree", "random_forest", "xgboost"):
        params = dict(recipe.FAMILIES[family].default)
        if family == "xgboost":
            params |= {"n_estimators": 20, "searched_rows": 600}
        weighted = fit_family(family, params, replace(table, weight=weight), KINDS, 1).scores(table.matrix)
        alone = fit_family(family, params, replace(table, weight=weight).chosen(weight > 0), KINDS, 1)
        np.testing.assert_array_equal(weighted, alone.scores(table.matrix))


def test_more_rows_than_the_search_saw_get_more_trees(monkeypatch: pytest.MonkeyPatch):
    params = {**recipe.FAMILIES["xgboost"].default, "n_estimators": 30, "searched_rows": 400}
    encoded = recipe.encode("trees", rows(600), KINDS, 1)
    assert {booster.num_boosted_rounds() for booster in recipe._boosters(encoded, params, 1)} == {38}
    far = recipe.encode("trees", rows(900), KINDS, 1)
    monkeypatch.setattr(recipe, "FEW_ROWS", 500)
    [booster] = recipe._boosters(far, params, 1)
    assert booster.num_boosted_rounds() > 0


def test_a_large_table_is_searched_in_part(monkeypatch: pytest.MonkeyPatch):
    """Reference scores then come from held-out rows by the fit on all training rows; the threshold does not."""
    monkeypatch.setattr(recipe_search, "MAX_SEARCHED_ROWS", 600)
    chosen = settings(families=["logistic_regression", "xgboost", "blend"], folds=5)
    prepared, features = prepare(*customers(1500), chosen)
    models = train_models(prepared, features, chosen)
    winner = models.models[models.winner].bundle
    assert winner.lineage["fit"]["rows"] == 1200
    assert models.refit.lineage["fit"]["rows"] == 1500
    assert models.refit.reference["churn_probability"].counts.sum() == 300
    known = ~np.isnan(scores := models.models[models.winner].search.out_of_fold)
    searched = best_f1_threshold(prepared.outcome[prepared.training][known], scores[known])
    assert winner.threshold == models.refit.threshold == searched, "held-out rows evaluate the threshold"
    for name, model in models.models.items():
        assert name == models.winner or model.bundle.lineage["fit"]["rows"] == 600


class Slow(str):
    """A form that lets other threads run while it is compared."""

    __hash__ = str.__hash__

    def __ne__(self, other: object) -> bool:
        time.sleep(1e-4)
        return str.__ne__(self, other)


def test_threads_encode_folds_of_several_forms_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recipe_search, "encode", lambda form, rows, *_: (form, rows))
    shared = recipe_search._RecipeRows(None, {}, {}, np.empty(0), [], 0, None, None)
    shared._built.update({fold: (fold, None) for fold in range(5)})
    keys = [(Slow(form), fold) for fold in range(5) for form in ("linear", "trees")] * 20
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(shared.encoded, *zip(*keys, strict=True))) == keys


def test_folds_are_capped_evenly():
    folds = stratified_folds(np.arange(1000) % 4 == 0, 5, 0)
    assert not is_capped(folds)
    assert capped(folds, 0) == folds


def test_weights_are_not_negative_and_useless_parts_get_none():
    rng = np.random.default_rng(2)
    truth = rng.normal(0.0, 2.0, 5000)
    outcome = rng.random(5000) < 1.0 / (1.0 + np.exp(-truth))
    scores = np.column_stack([truth + rng.normal(0.0, 0.5, 5000), -truth, rng.normal(0.0, 1.0, 5000)])
    intercept, weights = blend_weights(scores, outcome)
    assert abs(intercept) < 0.2
    assert weights[0] > 0.7
    assert weights[1] == 0.0
    assert weights[2] < 0.05


def test_a_blend_needs_the_recipe():
    with pytest.raises(SettingsError, match="a blend needs training"):
        settings(recipe="report")


def test_a_blend_wins_unless_another_family_is_clearly_better():
    def searched(*losses: float) -> Searched:
        best = Trial({}, tuple({"log_loss": loss} for loss in losses))
        return Searched(Search((best,), best, np.empty(0)), seconds=0.0)

    blend = searched(0.30, 0.32, 0.31)
    assert choose_winner({"xgboost": searched(0.29, 0.325, 0.308), "blend": blend}, "log_loss") == "blend"
    assert choose_winner({"xgboost": searched(0.28, 0.30, 0.29), "blend": blend}, "log_loss") == "xgboost"
    assert choose_winner({"xgboost": searched(0.30), "blend": searched(0.31)}, "log_loss") == "xgboost"
