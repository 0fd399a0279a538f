"""Steps 4 and 5: selection, search and the choice of the winner."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from churnops.cluster import open_workers
from churnops.data.preprocess import PreparedTable
from churnops.errors import DataError
from churnops.features import FeatureMatrix, all_features
from churnops.model.reference import SCORE
from churnops.schema import Column, Schema
from churnops.settings import FAMILIES, DerivedFeature, FeatureSettings, Settings, load_settings
from churnops.training.candidates import CANDIDATES
from churnops.training.export import export
from churnops.training.plan import Plan
from churnops.training.search import CrossValidation, Search, settings_to_try, stratified_folds
from churnops.training.select import SelectedFeatures, select_features
from churnops.training.train import TrainedModels, train_models
from tests.support.projects import quick, write_project


def feature(name: str, expression: str) -> DerivedFeature:
    return DerivedFeature(name=name, expression=expression)


def test_selection_drops_uninformative_features_and_records_why(settings: Settings, prepared: PreparedTable):
    wanted = FeatureSettings(
        derived=(
            feature("twice", "2 * total_day_minutes"),
            feature("nothing", "account_length > 5000"),
            feature("fine", "total_day_minutes * total_eve_minutes"),
        ),
        exclude=("voice_mail_plan",),
    )
    found = select_features(prepared, settings.table, wanted)
    record = json.loads(found.artifacts["selected_features.json"])
    assert record["left_out"] == {
        "voice_mail_plan": "excluded in config.yaml",
        "twice": "repeats total_day_minutes (|r| = 1.000000)",
        "nothing": "constant in the training rows",
    }
    assert found.build.selected[-1] == "fine"
    assert found.build(prepared.imputer(prepared.columns)).shape == (3333, 13)


def test_selection_does_not_look_at_held_out_rows(settings: Settings, prepared: PreparedTable):
    """A feature that varies only among held-out rows is constant to selection."""
    columns = dict(prepared.columns) | {
        "account_length": np.where(prepared.held_out, prepared.columns["account_length"], 7.0)
    }
    found = select_features(replace(prepared, columns=columns), settings.table, FeatureSettings())
    assert "account_length" not in found.build.selected


def test_a_huge_number_of_a_column_names_the_column_and_the_range(settings: Settings, prepared: PreparedTable):
    columns = dict(prepared.columns) | {"total_day_minutes": prepared.columns["total_day_minutes"] * 1e300}
    with pytest.raises(DataError) as error:
        select_features(replace(prepared, columns=columns), settings.table, FeatureSettings())
    assert str(error.value).startswith("column total_day_minutes ('Total day minutes') has a value outside ±3.4e+38")
    assert "expression" not in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (
            FeatureSettings(derived=(feature("huge", "1e37 * total_day_calls * total_day_calls"),)),
            "'huge' overflows",
        ),
        (FeatureSettings(derived=(feature("huge", "1e299 * 1e299 * total_day_minutes"),)), "'huge' overflows"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(
    settings: Settings, prepared: PreparedTable, wanted: FeatureSettings, reason: str
):
    with pytest.raises(DataError, match=reason):
        select_features(prepared, settings.table, wanted)


def test_the_default_setting_is_tried_first_and_none_twice():
    for candidate in CANDIDATES.values():
        tried = list(settings_to_try(candidate, 8, seed=42))
        assert tried[0] == candidate.default
        assert len({json.dumps(t, sort_keys=True) for t in tried}) == len(tried) == 8
        assert tried == list(settings_to_try(candidate, 8, seed=42))
        assert tried != list(settings_to_try(candidate, 8, seed=43))
    assert len(list(settings_to_try(CANDIDATES["logistic_regression"], 10**6, seed=1))) == 9  # the whole space


def run_search(features: SelectedFeatures, prepared: PreparedTable, threads: int, family: str) -> Search:
    training = ~prepared.held_out
    folds = stratified_folds(prepared.outcome[training], 3, seed=1)
    with open_workers("", threads) as workers:
        validation = CrossValidation(
            features.build, prepared.rows(training), prepared.outcome[training], folds, "log_loss", 1, workers
        )
        return validation.search(CANDIDATES[family], trials=2)


def test_out_of_fold_scores_come_from_fits_that_had_not_seen_the_row(
    features: SelectedFeatures, prepared: PreparedTable
):
    """A fully grown tree knows its training rows by heart; out of fold it cannot."""
    training = ~prepared.held_out
    outcome, columns = prepared.outcome[training], prepared.rows(training)
    matrix = features.build(prepared.imputer(columns))
    grown = replace(CANDIDATES["decision_tree"], default={}, space={"max_depth": [None]})
    folds = stratified_folds(outcome, 3, seed=1)
    with open_workers("", 1) as workers:
        found = CrossValidation(features.build, columns, outcome, folds, "log_loss", 1, workers).search(grown, trials=1)
    assert (grown.fit({}, matrix, outcome, 1).predict(matrix) == outcome).all()
    assert ((found.out_of_fold >= 0.5) != outcome).sum() > 50
    for training_rows, validation in folds:
        assert not set(training_rows) & set(validation)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_result_does_not_depend_on_the_number_of_threads(
    family: str, features: SelectedFeatures, prepared: PreparedTable
):
    one, two = (run_search(features, prepared, threads, family) for threads in (1, 3))
    np.testing.assert_array_equal(one.out_of_fold, two.out_of_fold)
    assert [t.folds for t in one.trials] == [t.folds for t in two.trials]


def test_the_winner_has_the_best_mean_cross_validated_metric(trained: TrainedModels):
    means = {name: model.search.best.mean("log_loss") for name, model in trained.models.items()}
    assert set(means) == set(FAMILIES)
    assert trained.winner == min(means, key=lambda name: means[name])
    assert trained.refit.algorithm == trained.winner
    assert trained.metrics["cv_log_loss"] == means[trained.winner]


def test_another_selection_metric_is_obeyed(tmp_path: Path, prepared: PreparedTable, features: SelectedFeatures):
    def change(document: dict[str, dict[str, object]]) -> None:
        quick(document)
        document["training"] |= {"selection_metric": "roc_auc", "families": ["decision_tree", "logistic_regression"]}

    found = train_models(prepared, features, load_settings(write_project(tmp_path, change)))
    means = {name: model.search.best.mean("roc_auc") for name, model in found.models.items()}
    assert found.winner == max(means, key=lambda name: means[name])


def test_held_out_rows_play_no_part_in_the_choice(tmp_path: Path, prepared: PreparedTable, features: SelectedFeatures):
    """Turning the held-out outcomes round changes the refit, which learns from them, and nothing else."""
    settings = load_settings(write_project(tmp_path, quick))
    turned = replace(prepared, outcome=np.where(prepared.held_out, ~prepared.outcome, prepared.outcome))
    one, other = (train_models(table, features, settings) for table in (prepared, turned))
    assert {n: m.bundle.content_sha256 for n, m in one.models.items()} == {
        n: m.bundle.content_sha256 for n, m in other.models.items()
    }
    assert one.winner == other.winner
    assert one.refit.content_sha256 != other.refit.content_sha256


def test_the_bundle_names_both_fits_and_holds_unseen_scores(trained: TrainedModels, prepared: PreparedTable):
    evaluated, deployed = (trained.refit.lineage["fits"][name] for name in ("evaluated", "deployed"))
    assert (evaluated["rows"], deployed["rows"]) == (2666, 3333)
    assert evaluated["content_sha256"] == trained.models[trained.winner].bundle.content_sha256
    assert deployed["content_sha256"] == trained.refit.content_sha256
    unseen = trained.models[trained.winner].search.out_of_fold
    reference = trained.refit.reference[SCORE]
    assert reference.rows == 3333
    assert np.isin(unseen, reference.points).all()  # not the scores of rows the model was fitted on
    assert trained.refit.reference["churn"].at_points.tolist() == [2850, 483]


def test_the_same_inputs_give_the_same_bundle(
    tmp_path: Path, trained: TrainedModels, prepared: PreparedTable, features: SelectedFeatures
):
    again = train_models(prepared, features, load_settings(write_project(tmp_path, quick)))
    assert again.refit.content_sha256 == trained.refit.content_sha256


def test_each_fold_learns_its_own_constants_from_its_training_rows(rng: np.random.Generator):
    """Whatever the validation rows hold, their scores come from a fit and constants that have not seen them."""
    column = Column(name="x", kind="number", nullable=True)
    target = Column(name="y", kind="target", choices=("0", "1"))
    schema = Schema(columns=(column, target))
    build = FeatureMatrix(schema.model_inputs, all_features(schema, FeatureSettings()), ["x"])
    outcome = rng.random(300) < 0.4
    values = np.where(outcome, 1.0, 0.0) + rng.normal(size=300)
    values[rng.random(300) < 0.3] = np.nan
    folds = stratified_folds(outcome, 3, seed=1)
    other = values.copy()
    other[folds[0][1]] += np.where(np.isnan(other[folds[0][1]]), 0.0, 1000.0)

    def scores(x: NDArray[np.float64]) -> NDArray[np.float64]:
        with open_workers("", 1) as workers:
            validation = CrossValidation(build, {"x": x}, outcome, folds, "log_loss", 1, workers)
            found = validation.search(CANDIDATES["decision_tree"], trials=1)
        return found.out_of_fold

    gaps = folds[0][1][np.isnan(values[folds[0][1]])]
    np.testing.assert_array_equal(scores(values)[gaps], scores(other)[gaps])


def test_a_refit_learns_and_serves_the_same_features(trained: TrainedModels, prepared: PreparedTable):
    """Fitting the recorded setting again on what the refit's own bundle computes gives its estimator."""
    refit = trained.refit
    matrix = refit.matrix(refit.imputer(prepared.columns))
    fitted = CANDIDATES[refit.algorithm].fit(refit.lineage["hyperparameters"], matrix, prepared.outcome, 42)
    np.testing.assert_array_equal(export(fitted).probability(matrix), refit.predict(prepared.columns).probability)


def test_the_reference_has_held_out_scores_of_the_evaluated_fit(trained: TrainedModels, prepared: PreparedTable):
    evaluated = trained.models[trained.winner].bundle
    held_out = evaluated.predict(prepared.rows(prepared.held_out)).probability
    assert np.isin(held_out, trained.refit.reference[SCORE].points).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_weight_0_change_nothing(family: str, features: SelectedFeatures, prepared: PreparedTable):
    matrix, candidate = features.build(prepared.imputer(prepared.columns)), CANDIDATES[family]
    half = np.arange(prepared.outcome.size) % 2 == 0
    weighted = candidate.fit(candidate.default, matrix, prepared.outcome, 1, 3.0 * half)
    alone = candidate.fit(candidate.default, matrix[half], prepared.outcome[half], 1)
    np.testing.assert_allclose(export(weighted).probability(matrix), export(alone).probability(matrix), atol=1e-6)


def test_a_row_of_weight_2_equals_two_rows(features: SelectedFeatures, prepared: PreparedTable):
    """The tree's settings count weights where they speak of rows, but for the least rows of a leaf."""
    matrix, candidate = features.build(prepared.imputer(prepared.columns)), CANDIDATES["decision_tree"]
    params = {"criterion": "gini", "max_depth": 4, "min_samples_leaf": 1}
    twice = np.arange(prepared.outcome.size) % 3 == 0
    weighted = candidate.fit(params, matrix, prepared.outcome, 1, np.where(twice, 2.0, 1.0))
    rows = np.repeat(np.arange(twice.size), np.where(twice, 2, 1))
    repeated = candidate.fit(params, matrix[rows], prepared.outcome[rows], 1)
    np.testing.assert_allclose(export(weighted).probability(matrix), export(repeated).probability(matrix), atol=1e-9)


def test_a_plan_says_who_is_compared_and_what_the_profile_is_of(
    tmp_path: Path, prepared: PreparedTable, features: SelectedFeatures
):
    settings = load_settings(write_project(tmp_path, quick))
    training = np.flatnonzero(~prepared.held_out)
    fitted, chosen = np.arange(2000), np.arange(2000, training.size)
    reference = prepared.held_out.copy()
    reference[training[chosen]] = True
    recent = lambda rows: (rows >= rows.max() - 999).astype(np.float64)  # noqa: E731
    plan = Plan(
        ("decision_tree", "logistic_regression"), {"all": None, "recent": recent}, [(fitted, chosen)], reference, 1
    )
    found = train_models(prepared, features, settings, plan)
    assert set(found.models) == {
        "decision_tree: all",
        "decision_tree: recent",
        "logistic_regression: all",
        "logistic_regression: recent",
    }
    assert found.refit.content_sha256 == found.models[found.winner].bundle.content_sha256  # not fitted again
    assert found.models["decision_tree: recent"].bundle.lineage["fit"]["rows"] == 1000
    assert found.models["decision_tree: all"].bundle.lineage["fit"]["rows"] == training.size
    scores = found.refit.reference[SCORE]
    assert scores.rows == found.refit.reference["churn"].rows == reference.sum()
    model = found.models[found.winner]
    held_out = model.bundle.predict(prepared.rows(prepared.held_out)).probability
    assert np.isin(held_out, scores.points).all()
    assert np.isin(model.search.out_of_fold[chosen], scores.points).all()
    assert np.isnan(model.search.out_of_fold[fitted]).all()
