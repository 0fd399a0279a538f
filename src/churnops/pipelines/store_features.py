"""Store the newest columns of customers from a table, for requests that name a customer only."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from churnops.data.batches import read_batches
from churnops.data.read import with_date_texts
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import DataError
from churnops.journal.layouts import Layout
from churnops.journal.online_rows import NewRow, check_storable, write_online_rows
from churnops.journal.packing import pack_table
from churnops.journal.tables import microseconds
from churnops.project import Project
from churnops.schema import SIMULATED, Schema, is_marked
from churnops.settings import Settings


@dataclass(frozen=True)
class StoredFeatures:
    """Numbers of the table's rows, and of the customers whose row was new or newer than the stored one."""

    rows: int
    stored: int
    model_version: str


def store_features(settings: Settings, path: Path, on_rows: Callable[[int, float], None]) -> StoredFeatures:
    """Store a table's rows in the journal, batch by batch, in the order of the file.

    Rows hold from their time (a column of kind `time`), or else from now on. The newest row of a customer stays.

    Raises
    ------
    ChurnopsError
        If no model is deployed, the table does not fit its Schema, or a row has no id. Earlier batches are then stored.
    """
    now = datetime.now(UTC)
    with Project.open(settings) as project:
        bundle = project.require_deployed()
        check_storable(bundle.schema)
        layout, rows, stored = Layout.of_bundle(bundle), 0, 0
        for batch in read_batches(path, schema=bundle.schema):
            if is_marked(batch.table.columns) and not settings.demonstration:
                raise DataError(f"{path} has a column {SIMULATED}: simulated customers are not stored")
            try:
                customers = check_customers(batch.table, bundle.schema, path.name)
            except ValidationError as error:
                raise error.below(batch.first_row) from None
            packed = _packed(customers, bundle.schema, layout, now, batch.first_row)
            stored += write_online_rows(project.engine, layout, packed)
            rows += customers.height
            on_rows(rows, batch.share)
    return StoredFeatures(rows, stored, bundle.version_name)


def _packed(customers: pl.DataFrame, schema: Schema, layout: Layout, now: datetime, first_row: int) -> list[NewRow]:
    if schema.identifier is None or schema.identifier.name not in customers.columns:
        raise DataError("the table has no ids: declare a column of kind id in the schema, and deploy a model with it")
    ids = customers.get_column(schema.identifier.name)
    if ids.null_count():
        row = first_row + int(ids.is_null().arg_max() or 0) + 1
        raise DataError(f"row {row:,} has no {schema.identifier.full_name}: columns are stored for a customer")
    time, times = schema.time, [microseconds(now)] * customers.height
    if time is not None and time.name in customers.columns:
        times = customers.get_column(time.name).dt.epoch("us").fill_null(times[0]).to_list()
    left_out = [schema.identifier.name, *schema.personal]
    inputs, rests = pack_table(layout, with_date_texts(customers, schema).drop(left_out, strict=False))
    return [NewRow(*row) for row in zip(ids.to_list(), times, inputs, rests, strict=True)]
