"""Training on a split in time: forward folds, and only scores of rows that a fit did not see."""

import io

import numpy as np
import polars as pl
import pytest

from churnops.data.preprocess import preprocess
from churnops.data.time_split import Moments, split_in_time
from churnops.model.reference import SCORE
from churnops.settings import Family
from churnops.training import recipe_search
from churnops.training.plan import main_plan
from churnops.training.select import select_features
from churnops.training.train import train_models
from churnops.training.winner_refits import WinnerRefits
from tests.support.mixed_table import customers, settings

ROWS = 1500
ALL: tuple[Family, ...] = ("logistic_regression", "xgboost", "blend")


@pytest.mark.parametrize(
    ("recipe", "families", "searched"),
    [("report", ALL[:2], 30_000), ("general", ALL, 30_000), ("general", ALL[:1], 500)],
)
def test_reference_and_threshold_come_from_later_rows(
    recipe: str, families: tuple[Family, ...], searched: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recipe_search, "MAX_SEARCHED_ROWS", searched)
    chosen = settings(recipe=recipe, families=families, trials=dict.fromkeys(families, 1))
    columns, outcome = customers(ROWS)
    rng = np.random.default_rng(4)
    moments = Moments(rng.integers(0, 10, ROWS) * 30.0, rng.integers(1, 3000, ROWS).astype(np.uint64), 30.0)
    split = split_in_time(moments, outcome, 0.2, seed=1)
    prepared = preprocess(columns, outcome, chosen.table.model_inputs, sha256="0" * 64, held_out=split, seed=1)
    features = select_features(prepared, chosen.table, chosen.features, one_hot=recipe == "report")
    trained = train_models(prepared, features, chosen)
    validated = sum(validation.size for _, validation in main_plan(prepared, chosen).folds)
    reference = pl.read_parquet(io.BytesIO(trained.reference))
    assert 0 < validated < prepared.training.sum(), "the first block validates nothing"
    assert reference.height == prepared.held_out.sum() + validated
    assert reference.get_column(SCORE).is_not_nan().all()
    assert trained.refit.lineage["fits"]["evaluated"]["rows"] == prepared.training.sum()
    assert trained.refit.lineage["fits"]["deployed"]["rows"] == ROWS
    assert 0.0 < trained.refit.threshold < 1.0
    at_random, scores = WinnerRefits(trained, prepared, features, chosen).on_random_split()
    assert at_random.size == scores.size == pytest.approx(0.2 * ROWS, abs=2)
