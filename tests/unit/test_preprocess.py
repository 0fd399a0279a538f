"""Steps 2 and 3: one table whatever the files, rows held out first, constants from training rows."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churnops.data.merge import merge
from churnops.data.preprocess import Imputer, PreparedTable, preprocess, stratified_holdout
from churnops.data.validate import validate_data
from churnops.schema import Column
from churnops.settings import Settings
from tests.support.projects import RAW

MINUTES = Column(name="minutes", kind="number", nullable=True)
PLAN = Column(name="plan", kind="flag", nullable=True, choices=("No", "Yes"))


def test_merging_does_not_depend_on_files_their_order_or_names(
    settings: Settings, tmp_path: Path, telecom: pl.DataFrame
):
    everything = pl.concat([pl.read_csv(path, infer_schema=False) for path in RAW]).sample(
        fraction=1, shuffle=True, seed=3
    )
    parts = [everything[:100], everything[100:2000], everything[2000:]]
    paths = []
    for name, part in zip("zyx", parts, strict=True):
        paths.append(tmp_path / f"{name}.csv")
        part.write_csv(paths[-1])
    one, other = (merge(validate_data(files, [], settings.table).raw, settings.table) for files in (RAW, paths))
    assert one.table.equals(other.table)
    assert one.sha256 == other.sha256
    assert one.table.height == 3333
    assert one.metrics == {"rows": 3333, "churn_rate": pytest.approx(483 / 3333)}


def test_a_column_that_only_some_files_have_is_null_in_the_others(settings: Settings, tmp_path: Path):
    pl.read_csv(RAW[1], infer_schema=False).drop("State").write_csv(tmp_path / "a.csv")
    merged = merge(validate_data([RAW[0], tmp_path / "a.csv"], [], settings.table).raw, settings.table)
    assert merged.table["state"].null_count() == 667


@pytest.mark.parametrize("seed", range(5))
def test_the_holdout_is_stratified_and_seeded(seed: int, rng: np.random.Generator):
    outcome = rng.random(1000) < 0.15
    held_out = stratified_holdout(outcome, 0.2, seed)
    for value in (True, False):
        assert held_out[outcome == value].sum() == round(0.2 * (outcome == value).sum())
    np.testing.assert_array_equal(held_out, stratified_holdout(outcome, 0.2, seed))
    assert not np.array_equal(held_out, stratified_holdout(outcome, 0.2, seed + 1))


def test_constants_are_fitted_on_training_rows_only():
    """Held-out values may be anything: the constants stay."""
    rows = 100
    outcome = np.arange(rows) % 4 == 0
    held_out = stratified_holdout(outcome, 0.2, 42)
    minutes = np.where(held_out, 1e9, np.arange(rows, dtype=np.float64))
    plan = np.where(held_out, 1.0, 0.0)
    minutes[:3], plan[:3] = np.nan, np.nan
    found = preprocess({"minutes": minutes, "plan": plan}, outcome, [MINUTES, PLAN], sha256="0", held_out=0.2, seed=42)
    np.testing.assert_array_equal(found.held_out, held_out)
    known = ~held_out & ~np.isnan(minutes)
    assert found.imputer.constants == {"minutes": np.median(minutes[known]), "plan": 0.0}
    assert found.metrics["missing_values"] == 6


def test_imputation_fills_gaps_and_leaves_the_rest_alone():
    columns = {"minutes": np.array([1.0, np.nan, 5.0]), "plan": np.array([1.0, 1.0, np.nan]), "other": np.zeros(3)}
    imputer = Imputer.fit(columns, [MINUTES, PLAN])
    filled = imputer(columns)
    assert set(filled) == {"minutes", "plan"}
    np.testing.assert_array_equal(filled["minutes"], [1.0, 3.0, 5.0])
    np.testing.assert_array_equal(filled["plan"], [1.0, 1.0, 1.0])
    assert Imputer.fit({"minutes": np.array([np.nan])}, [MINUTES]).constants == {"minutes": 0.0}


def test_a_step_carries_rows_of_one_table(prepared: PreparedTable):
    held_out = prepared.rows(prepared.held_out)
    assert {len(values) for values in held_out.values()} == {667}
    assert prepared.metrics == {"training_rows": 2666, "held_out_rows": 667, "missing_values": 0}
