"""Write the training tables of a project as a Feast repository."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.cell_text import UTC as MICROSECONDS
from churnops.data.read import encode, with_date_texts
from churnops.data.stored import fetch
from churnops.data.validate import validate_data
from churnops.errors import DataError, SettingsError
from churnops.feature_store.repository import (
    OUTCOMES,
    ROWS,
    TIMESTAMP,
    Definition,
    definition_of,
    repository_texts,
)
from churnops.features import all_features, compile_expression
from churnops.files import flushed_file, write_flushed
from churnops.schema import Column, Columns, Schema
from churnops.settings import FeatureSettings, Settings


@dataclass(frozen=True)
class Exported:
    """A written repository.

    Attributes
    ----------
    rows, customers
        Numbers of feature rows, and of different customers in them.
    personal
        Columns that were left out because their values are in no file.
    """

    folder: Path
    rows: int
    customers: int
    columns: tuple[str, ...]
    derived: tuple[str, ...]
    personal: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self) | {"folder": str(self.folder)}


def export(settings: Settings, folder: Path, *, force: bool = False) -> Exported:
    """Write a Feast repository of the rows of `data.raw`, with their columns, derived columns, times and outcomes.

    Rows of a table without a column of kind `time` hold from the time of the export. Personal columns are left out.

    Parameters
    ----------
    force
        Whether existing files are replaced. Other files in the folder stay.

    Raises
    ------
    SettingsError
        If the schema has no column of kind `id`, or a column has the name of Feast's time.
    DataError
        If a file of the repository exists and `force` is False, or a row has no id.
    ValidationError
        If a table breaks the schema.
    """
    schema = settings.table
    identifier = _identifier(schema)
    all_features(schema, settings.features, one_hot=False)  # refuses an invalid expression
    personal = tuple(column.name for column in schema.columns if column.personal)
    table = _raw_rows(settings)
    kept = [column for column in schema.inputs if column.name in table.columns and not column.personal]
    derived = derived_columns(encode(table, schema), schema, settings.features)
    described = [Definition(d.name, "Float64", d.description) for d in settings.features.derived if d.name in derived]
    texts = repository_texts(schema, map(definition_of, kept), described)
    if not force:
        _check_free(folder, [*texts, ROWS, OUTCOMES])
    keys = [table.get_column(identifier.name), _times(table, schema)]
    inputs = with_date_texts(table.select(column.name for column in kept), schema)
    computed = [pl.Series(name, values).fill_nan(None) for name, values in derived.items()]
    folder.mkdir(parents=True, exist_ok=True)
    _write(pl.DataFrame([*keys, *inputs.get_columns(), *computed]), folder / ROWS)
    _write(pl.DataFrame([*keys, table.get_column(schema.target.name)]), folder / OUTCOMES)
    for name, text in texts.items():
        write_flushed(folder / name, text.encode())
    names = tuple(column.name for column in kept)
    return Exported(folder, table.height, keys[0].n_unique(), names, tuple(derived), personal)


def derived_columns(columns: Columns, schema: Schema, settings: FeatureSettings) -> dict[str, NDArray[np.float64]]:
    """Return the derived columns of encoded rows; NaN where a column that the expression uses is missing.

    Those that use a personal column are left out.
    """
    known = {name: values for name, values in columns.items() if name not in schema.personal}
    names: dict[str, Column | None] = {column.name: column for column in schema.model_inputs}
    derived: dict[str, NDArray[np.float64]] = {}
    for item in settings.derived:
        expression = compile_expression(item.expression, names)
        names[item.name] = None
        if expression.names <= known.keys():
            values = expression(known)
            for name in expression.names:
                values = np.where(np.isnan(known[name]), np.nan, values)
            known[item.name] = derived[item.name] = values
    return derived


def _identifier(schema: Schema) -> Column:
    if schema.identifier is None:
        raise SettingsError("the schema has no column of kind id: Feast joins the rows of a customer by it")
    if TIMESTAMP in schema.by_name and schema.by_name[TIMESTAMP] is not schema.time:
        raise SettingsError(f"the schema has a column '{TIMESTAMP}', which is Feast's name of a row's time: rename it")
    return schema.identifier


def _raw_rows(settings: Settings) -> pl.DataFrame:
    """Return the checked rows of all raw tables; every row has an id."""
    schema = settings.table
    paths = [fetch(settings, source) for source in settings.data.raw]
    validated = validate_data(
        paths,
        [],
        schema,
        max_broken_rows=settings.data.max_broken_rows,
        by_time=settings.evaluation.in_time,
    )
    table = pl.concat(validated.raw.values(), how="diagonal_relaxed")
    assert schema.identifier is not None
    name = schema.identifier.name
    missing = table.get_column(name).null_count() if name in table.columns else table.height
    if missing:
        raise DataError(
            f"{missing:,} of {table.height:,} rows have no value in {schema.identifier.full_name}, by which Feast "
            "joins the rows of a customer"
        )
    return table


def _times(table: pl.DataFrame, schema: Schema) -> pl.Series:
    """Return the time from which each row holds."""
    if schema.time is None or schema.time.name not in table.columns:
        return pl.repeat(datetime.now(UTC), table.height, dtype=MICROSECONDS, eager=True).alias(TIMESTAMP)
    times = table.get_column(schema.time.name)
    if missing := times.null_count():
        raise DataError(f"{missing:,} of {table.height:,} rows have no value in {schema.time.full_name}")
    return times.alias(TIMESTAMP)


def _check_free(folder: Path, names: list[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    for name in names:
        if (folder / name).exists():
            raise DataError(f"{folder / name} exists: name another folder, or give --force to replace it")


def _write(table: pl.DataFrame, path: Path) -> None:
    with flushed_file(path) as file:
        table.write_parquet(file)
