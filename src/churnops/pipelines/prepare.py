"""Steps 1 to 3 of the main job: check the tables, merge them, and hold rows out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.identity import Identities, customer_hashes, identify
from churnops.data.merge import merge
from churnops.data.preprocess import PreparedTable, preprocess
from churnops.data.read import encode, outcomes
from churnops.data.row_times import times_of
from churnops.data.skipped import Skipped
from churnops.data.time_split import Moments, TimeSplit, split_in_time
from churnops.data.validate import validate_data
from churnops.retraining.comparison import customers_of
from churnops.settings import Settings
from churnops.tracking.pipeline_run import PipelineRun

ROWS_PER_FOLD_AND_OUTCOME = 2


@dataclass(frozen=True)
class Prepared:
    """Results of steps 1 to 3, without the tables that only these need: a large one would fill memory to the end."""

    table: PreparedTable
    trained_on: Identities
    production: Mapping[str, pl.DataFrame]
    skipped: Skipped


def prepare_data(settings: Settings, run: PipelineRun, steps: Sequence[str]) -> Prepared:
    """Run steps 1 to 3, which have these names."""
    schema = settings.table
    validated = run.step(
        steps[0],
        validate_data,
        source_paths(settings, settings.training_tables),
        source_paths(settings, settings.data.production),
        schema,
        minimum_class=_rows_needed(settings),
        max_broken_rows=settings.data.max_broken_rows,
        by_time=settings.evaluation.in_time,
    )
    merged = run.step(steps[1], merge, validated.raw, schema)
    columns, outcome = encode(merged.table, schema), outcomes(merged.table, schema) == 1.0
    trained_on = identify(columns, customers_of(merged.table, schema), [c.name for c in schema.model_inputs])
    prepared = run.step(
        steps[2],
        preprocess,
        columns,
        outcome,
        schema.model_inputs,
        sha256=merged.sha256,
        held_out=_held_out(merged.table, outcome, settings),
        seed=settings.random_state,
    )
    return Prepared(prepared, trained_on, validated.production, validated.skipped)


def _held_out(
    table: pl.DataFrame, outcome: NDArray[np.bool_], settings: Settings
) -> float | NDArray[np.bool_] | TimeSplit:
    """Return the share of rows to hold out at random, the split in time, or for small tables a mask of no rows."""
    options = settings.evaluation
    if options.split == "repeated":
        return np.zeros(outcome.shape, np.bool_)
    if not options.in_time:
        return options.holdout_fraction
    schema, horizon = settings.table, settings.journal.label_horizon
    moments = Moments(times_of(table, schema), customer_hashes(customers_of(table, schema)), horizon)
    return split_in_time(moments, outcome, options.holdout_fraction, settings.random_state)


def _rows_needed(settings: Settings) -> int:
    """Return the minimum number of rows of each outcome in all tables, so that every fold and the holdout get some."""
    in_folds = settings.training.folds * ROWS_PER_FOLD_AND_OUTCOME
    if settings.evaluation.split == "repeated":
        return in_folds
    return max(in_folds, ceil(1 / settings.evaluation.holdout_fraction))


def source_paths(settings: Settings, sources: tuple[str, ...]) -> list[Path]:
    """Return the places of sources of the settings."""
    return [settings.path(source) for source in sources]
