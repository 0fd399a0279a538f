"""Predictions and labels of a monitored project."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Engine, func, select

from churnops.data.profile import Profile
from churnops.data.read import decode, encode, outcomes, read_table
from churnops.data.validate import check_customers
from churnops.journal import Label, PredictionRow, new_prediction_id, open_database
from churnops.journal.labels import write_labels
from churnops.journal.layouts import Layout
from churnops.journal.predictions import write_predictions
from churnops.model import Bundle
from churnops.pipelines import run_monitoring as monitoring
from churnops.schema import Schema
from churnops.settings import Settings
from tests.support.projects import LATER

DAY = timedelta(days=1)


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        yield engine
    finally:
        engine.dispose()


def bundle_of(settings: Settings) -> Bundle:
    return Bundle.load(settings.path("models") / "production")


def watched(
    schema: Schema,
    reference: Profile,
    linked: Mapping[str, str] = MappingProxyType({}),
    level_rates: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
) -> Bundle:
    """Return the parts of a bundle that verdicts on columns need."""
    parts = SimpleNamespace(schema=schema, reference=reference, linked=linked, level_rates=level_rates)
    return cast("Bundle", parts)


def customers(settings: Settings, change: Callable[[pl.DataFrame], pl.DataFrame] = lambda table: table) -> pl.DataFrame:
    """Return the checked later customers as a table with snake_case names."""
    table = check_customers(read_table(LATER), settings.table, "later", keep_outcome=True)
    return change(decode(encode(table, settings.table), outcomes(table, settings.table), settings.table))


def longer_calls(table: pl.DataFrame) -> pl.DataFrame:
    parts = ("day", "eve", "night", "intl")
    more = [(pl.col(f"total_{part}_minutes") * 1.3).clip(0, 1440).round(1) for part in parts]
    counts = [(pl.col(f"total_{part}_calls") + 15).clip(0, 1000) for part in parts]
    return table.with_columns(*more, *counts, (pl.col("account_length") + 40).clip(0, 500))


def asked(settings: Settings, table: pl.DataFrame, first: datetime, last: datetime) -> list[PredictionRow]:
    """Record the deployed model's predictions for these customers, evenly over a period."""
    bundle, schema = bundle_of(settings), settings.table
    scores = bundle.predict(encode(check_customers(table, schema, "t"), schema)).probability.tolist()
    step = (last - first) / table.height
    layout, inputs = Layout.of_bundle(bundle), table.drop(schema.target.name).iter_rows(named=True)
    rows = [
        PredictionRow(
            new_prediction_id(), first + i * step, None, layout, score, score >= bundle.threshold, *packed, "api"
        )
        for i, (score, packed) in enumerate(zip(scores, map(layout.pack, inputs), strict=True))
    ]
    with database(settings) as engine:
        write_predictions(engine, rows)
    return rows


def became(settings: Settings, rows: list[PredictionRow], churned: list[bool], recorded: datetime) -> None:
    """Record customers' outcomes, all at one time; customers who left did so a day after the prediction."""
    labels = [
        Label(c, prediction_id=row.id, outcome_at=row.at + (1 if c else 30) * DAY)
        for row, c in zip(rows, churned, strict=True)
    ]
    with database(settings) as engine, engine.begin() as connection:
        write_labels(connection, labels, recorded)


def report_of(summary: monitoring.MonitoringSummary) -> dict[str, Any]:
    return dict(json.loads(summary.cycle.path.read_text()))


def batch_beside(report: Path) -> Path:
    return report.with_name(report.name.replace("monitoring_report", "production_batch")).with_suffix(".csv")


def number_of(settings: Settings, table: Any) -> int:
    with database(settings) as engine, engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
