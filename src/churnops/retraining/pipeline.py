"""Retraining pipeline: the steps of the main job, on the original table and production rows."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.identity import Identities, customer_hashes
from churnops.data.merge import merge
from churnops.data.preprocess import preprocess
from churnops.data.read import encode, outcomes
from churnops.data.row_times import times_of
from churnops.data.skipped import Skipped
from churnops.data.time_split import Moments, TimeSplit
from churnops.data.validate import ValidatedData, validate_data
from churnops.errors import DataError
from churnops.evaluation.held_out import EvaluatedModels, evaluate_models
from churnops.evaluation.metrics import Evaluation
from churnops.files import temporary_folder
from churnops.model import Bundle
from churnops.retraining.comparison import RETRAINED_FROM, check_same_inputs, customers_of, judge
from churnops.retraining.gate import VERDICT_LABELS, Decision
from churnops.retraining.rows import ProductionRows
from churnops.retraining.split import Mask, Split, Table, one_row_each, split
from churnops.schema import Schema
from churnops.settings import Settings
from churnops.step import StepResult
from churnops.tracking import PipelineRun
from churnops.training.plan import Plan
from churnops.training.select import select_features
from churnops.training.train import TrainedModels, train_models

EXPERIMENT = "ChurnPrediction-Retraining"
STEPS = (
    "1/7 Validate data",
    "2/7 Merge data",
    "3/7 Pre-processing",
    "4/7 Feature engineering",
    "5/7 Train models",
    "6/7 Evaluation",
    "7/7 Compare with production",
)
CHAMPION = "in production"
MICROSECONDS_PER_DAY = 86_400e6
AT, CUSTOMER = ":at", ":customer"  # added columns; names of the Schema have no colon


@dataclass(frozen=True, kw_only=True)
class Compared(StepResult):
    """The gate's decision on the challenger."""

    decision: Decision


@dataclass(frozen=True)
class Retrained:
    """Result of the pipeline.

    Attributes
    ----------
    challenger
        The compared model, with its evaluation on the held-out rows. It is deployed without another fit.
    trained_on
        Identities of its training rows.
    rows
        Number of rows by use.
    skipped
        Files and columns that were not used.
    """

    trained: TrainedModels
    evaluated: EvaluatedModels
    challenger: Bundle
    trained_on: Identities
    decision: Decision
    rows: Mapping[str, int]
    skipped: Skipped

    def evaluation(self, name: str) -> Evaluation:
        """Return a model's evaluation on the held-out rows."""
        return self.evaluated.evaluations[name]


class RetrainingPipeline:
    """Trains a challenger and compares it with the deployed model. It deploys nothing.

    Parameters
    ----------
    run
        Tracks each step in its own run.
    """

    def __init__(self, settings: Settings, run: PipelineRun) -> None:
        self._settings = settings
        self._run = run

    def run(
        self,
        champion: Bundle,
        trained_on: Identities,
        rows: ProductionRows,
        batch: Path | None = None,
        *,
        on_family: Callable[[str], None] = lambda name: None,
    ) -> Retrained:
        """Run the seven steps.

        Parameters
        ----------
        champion, trained_on
            The deployed model, and the identities of its training rows.
        rows
            Production customers with known outcomes, from the journal.
        batch
            A file with more such customers; their time of prediction is now.

        Raises
        ------
        ValidationError
            With all broken rules of the tables.
        DataError
            If no customer is left for the comparison, or the champion's Schema differs from that of the settings.
        """
        settings, schema, step = self._settings, self._settings.table, self._run.step
        check_same_inputs(champion, schema)
        self._run.log_source()
        names = [column.name for column in schema.model_inputs]
        table, sha256, skipped = self._labelled_rows(rows, batch)
        parts = split(table, table.held_by(trained_on), names, settings.retraining)
        if not parts.held_out.any():
            raise DataError("no customer with a known outcome is new to the deployed model: no comparison is possible")
        used = parts.used
        prepared = step(
            STEPS[2],
            preprocess,
            table.rows(used).columns,
            table.outcome[used],
            schema.model_inputs,
            sha256=sha256,
            held_out=_held_out(table, parts),
            seed=settings.random_state,
        )
        one_hot = settings.training.recipe == "report"
        features = step(STEPS[3], select_features, prepared, schema, settings.features, one_hot=one_hot)
        plan = _plan(table, parts, settings)
        held_out, fitted = table.rows(parts.held_out), table.rows(parts.training)
        fitted_on, produced = fitted.identities(names), int(fitted.production.sum())
        del table, fitted  # the training needs the memory
        _assert_unseen(held_out, champion=trained_on, challenger=fitted_on)
        trained = step(STEPS[4], train_models, prepared, features, settings, plan, on_family=on_family)
        refit = trained.refit.with_metadata(metrics={}, lineage=self._lineage(champion))
        bundles = {name: model.bundle for name, model in trained.models.items()} | {CHAMPION: champion}
        evaluated = step(
            STEPS[5],
            evaluate_models,
            bundles,
            trained.winner,
            refit,
            prepared,
            settings,
            skipped=skipped,
            left_out=features.left_out,
        )
        compared = step(STEPS[6], _compare, held_out, evaluated.bundle, champion, settings)
        counts = {
            "original": int(parts.training.sum()) - produced,
            "production": produced,
            "chosen_on": int(parts.newest.sum()),
            "held_out": int(parts.held_out.sum()),
            "left_out": int((~used).sum()),
        }
        return Retrained(trained, evaluated, evaluated.bundle, fitted_on, compared.decision, counts, skipped)

    def _labelled_rows(self, rows: ProductionRows, batch: Path | None) -> tuple[Table, str, Skipped]:
        """Run steps 1 and 2; return all original rows with one row for each production customer, and a SHA-256."""
        settings, schema = self._settings, self._settings.table
        with temporary_folder() as folder:
            production = [*_written(rows, schema, folder), *([batch] if batch else [])]
            raw = [settings.path(source) for source in settings.training_tables]
            folds = settings.training.folds
            validated = self._run.step(
                STEPS[0],
                validate_data,
                raw,
                production,
                schema,
                minimum_class=folds,
                max_broken_rows=settings.data.max_broken_rows,
                by_time=settings.evaluation.in_time,
            )
        merged = self._run.step(STEPS[1], merge, _tables(validated, rows, settings), schema, beside=(AT, CUSTOMER))
        table = _encoded(merged.table, settings)
        once = one_row_each(table, [column.name for column in schema.model_inputs])
        return table.rows(once), merged.sha256, validated.skipped

    def _lineage(self, champion: Bundle) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        run = self._run
        return {"run_id": run.run_id, "git_commit": run.commit, "created": now, RETRAINED_FROM: champion.content_sha256}


def _held_out(table: Table, parts: Split) -> Mask | TimeSplit:
    """Return the held-out ones among the used rows."""
    held_out = parts.held_out[parts.used]
    if table.moments is None:
        return held_out
    moments = table.moments.rows(parts.used)
    return TimeSplit(moments, held_out, ~held_out, float(moments.at[held_out].min()), int((~parts.used).sum()))


def _plan(table: Table, parts: Split, settings: Settings) -> Plan:
    """Return the candidates, the rows for fitting them, and the rows for choosing one."""
    names = [column.name for column in settings.table.model_inputs]
    return Plan(
        families=settings.retraining.families,
        weights=parts.weightings(table, settings.retraining),
        folds=parts.folds(table, names, settings.training.folds, settings.random_state),
        reference=(parts.held_out | parts.newest)[parts.used],
        threads=settings.retraining_threads,
    )


def _written(rows: ProductionRows, schema: Schema, folder: Path) -> list[Path]:
    """Write the journal's rows to a file, so that validation checks them like every table.

    The file has a required id, and the time of the prediction as a required time of the row.
    """
    if not rows.table.height:
        return []
    table, path = rows.table, folder / "journal.parquet"
    if schema.identifier and schema.identifier.required:
        table = table.with_columns(pl.Series(schema.identifier.name, rows.customers, pl.String))
    if schema.time and schema.time.required:
        table = table.with_columns(pl.Series(schema.time.name, rows.at).cast(pl.Datetime("us", "UTC")))
    table.write_parquet(path)
    return [path]


def _tables(validated: ValidatedData, rows: ProductionRows, settings: Settings) -> dict[str, pl.DataFrame]:
    """Add time of prediction (0 in the original tables) and id to the tables; drop the batch's unlabelled rows."""
    schema, now = settings.table, int(datetime.now(UTC).timestamp() * 1e6)
    tables = {
        name: _beside(table, np.zeros(table.height, np.int64), customers_of(table, schema))
        for name, table in validated.raw.items()
    }
    journal = rows.table.height > 0
    for name, table in validated.production.items():
        if journal:
            tables[name], journal = _beside(table, rows.at, rows.customers), False  # the journal's file comes first
        else:
            batch = _beside(table, _times(table, now, settings), customers_of(table, schema))
            known = pl.col(schema.target.name).is_not_null() if schema.target.name in table.columns else pl.lit(False)
            tables[name] = batch.filter(known)
    if rows.table.height:  # the journal keeps no personal values, so the new model does not watch these columns
        return {name: table.drop(schema.personal, strict=False) for name, table in tables.items()}
    return tables


def _times(batch: pl.DataFrame, now: int, settings: Settings) -> NDArray[np.int64]:
    """Return the times of a batch in microseconds since 1970: now, or in a split in time those of its rows."""
    time = settings.table.time
    if not settings.evaluation.in_time or time is None or time.name not in batch.columns:
        return np.full(batch.height, now)
    return batch.get_column(time.name).dt.epoch("us").fill_null(now).to_numpy()


def _beside(table: pl.DataFrame, at: NDArray[np.int64], customers: tuple[str | None, ...]) -> pl.DataFrame:
    return table.with_columns(pl.Series(AT, at, pl.Int64), pl.Series(CUSTOMER, customers, pl.String))


def _encoded(merged: pl.DataFrame, settings: Settings) -> Table:
    schema, at, customers = settings.table, merged.get_column(AT).to_numpy(), tuple(merged.get_column(CUSTOMER))
    moments = None
    if settings.evaluation.in_time:
        days = at / MICROSECONDS_PER_DAY
        days[at == 0] = times_of(merged.filter(pl.col(AT) == 0), schema)
        moments = Moments(days, customer_hashes(customers), settings.journal.label_horizon)
    return Table(encode(merged, schema), outcomes(merged, schema) == 1.0, at, customers, moments)


def _compare(held_out: Table, challenger: Bundle, champion: Bundle, settings: Settings) -> Compared:
    """Let the gate decide on the held-out rows: step 7."""
    decision = judge(held_out, challenger, champion, settings)
    numbers = {
        name: value
        for name, value in (("gain", decision.gain), ("gain_low", decision.low), ("gain_high", decision.high))
        if value is not None
    }
    return Compared(
        decision=decision,
        params={
            "verdict": decision.verdict,
            "metric": decision.metric,
            "min_improvement": decision.min_improvement,
            "confidence": decision.confidence,
        },
        metrics={"rows": decision.rows, "churned": decision.churned, **numbers},
        artifacts={"decision.json": json.dumps(decision.to_json(), indent=2, allow_nan=False)},
        summary=f"{VERDICT_LABELS[decision.verdict]}: {decision.reason}",
    )


def _assert_unseen(held_out: Table, **models: Identities) -> None:
    """Assert that no held-out customer was in a model's training rows, as the split ensures."""
    for name, identities in models.items():
        if held_out.held_by(identities).any():
            raise AssertionError(f"held-out customers were in the {name}'s training rows")
