"""Derived columns: one engine for one row and for a million, against Polars expressions of the same columns."""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.harness import Claim, Result, median_seconds
from benchmarks.product import Project
from churnops.features import FeatureMatrix, all_features
from churnops.schema import Columns

ROWS = 1_000_000


def polars_derived(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the default derived columns, written in Polars; a flag is encoded as 0 or 1."""
    day, evening, night, intl = (pl.col(f"total_{part}_minutes") for part in ("day", "eve", "night", "intl"))
    few_or_long = (intl > 13) | (pl.col("total_intl_calls") < 3)
    return frame.with_columns(total_charge=0.17 * day + 0.085 * evening + 0.045 * night + 0.27 * intl).with_columns(
        bill_without_voice_mail=pl.col("total_charge") * (1 - pl.col("voice_mail_plan")),
        international_plan_risk=((pl.col("international_plan") == 1) & few_or_long).cast(pl.Float64),
        many_service_calls=(pl.col("customer_service_calls") > 3).cast(pl.Float64),
    )


def polars_matrix(frame: pl.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the named columns, derived ones included, as an array."""
    return polars_derived(frame).select(names).to_numpy()


def measure() -> Result:
    """Time the derived columns alone, and the whole matrix that a model reads."""
    project = Project.default()
    schema = project.settings.table
    features = all_features(schema, project.settings.features)
    derived = [item.name for item in project.settings.features.derived]
    only_derived = FeatureMatrix(schema.model_inputs, features, derived)
    everything = FeatureMatrix(schema.model_inputs, features, [feature.name for feature in features])

    drawn = np.random.default_rng(0).integers(project.raw.outcome.size, size=ROWS)
    many: Columns = {column.name: project.raw.columns[column.name][drawn] for column in schema.model_inputs}
    claims: list[Claim] = []
    started = time.perf_counter()
    everything(many)
    first = time.perf_counter() - started
    for rows, unit, target, repeats, calls in ((1, "µs", 50.0, 51, 200), (ROWS, "s", 1.0, 7, 1)):
        columns = {name: values[:rows] for name, values in many.items()}
        frame = pl.DataFrame(columns)
        scale = 1e6 if unit == "µs" else 1.0
        label = "one row" if rows == 1 else f"{rows:,} rows"
        for subject, matrix in (("derived columns", only_derived), ("whole matrix", everything)):
            ours = median_seconds(partial(matrix, columns), repeats=repeats, calls=calls)
            peer = median_seconds(
                partial(polars_matrix, frame, matrix.selected),
                repeats=min(repeats, 15),
                calls=min(calls, 20),
            )
            claims.append(
                Claim(f"{subject}, {label}", ours * scale, unit, target, peer="Polars", peer_measured=peer * scale)
            )
    claims.append(Claim(f"whole matrix, {ROWS:,} rows, first call of the process", first, "s"))
    theirs = polars_matrix(pl.DataFrame(many), derived)
    claims.append(
        Claim("largest difference from Polars", float(np.abs(only_derived(many) - theirs).max()), target=1e-9)
    )
    return Result(
        title="Derived columns",
        about=(
            "The four default expressions, compiled to NumPy calls, from encoded columns to a matrix. The whole matrix "
            "also copies the unchanged columns. Polars computes the same from a table of the same numbers and returns "
            "a NumPy array. Medians of wall time."
        ),
        claims=claims,
        notes=[
            f"churnops uses one thread here and Polars {pl.thread_pool_size()}, so a ratio above 1 (Polars is faster) "
            "is expected on a million rows. The aim is one engine for one customer and for a million.",
            "Repeated calls reuse their memory. The first call gets it from the operating system. It is a single "
            "measurement, in the line 'first call of the process'.",
        ],
    )
