"""Exposures of customers whom `churnops predict` scored while a split was running."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from churnops.data.column_check import check_cells
from churnops.data.targets import WRITTEN
from churnops.journal.experiments import Experiment
from churnops.journal.exposures import Exposure
from churnops.journal.tables import microseconds
from churnops.project import Project
from churnops.schema import ARM, CUSTOMER_ID, Schema, is_blank
from churnops.scoring.csv_answer import with_formulas

_BLOCK_BYTES = 4 * 2**20


def record_exposures(project: Project, experiment: Experiment, result: Path, schema: Schema, ending: str) -> int:
    """Record the arms of the customers in a result, a file or a folder; return the number of customers with an id.

    A repetition with the same result changes nothing, because a customer's first exposure counts.

    Parameters
    ----------
    ending
        Format of a file, such as `.csv`; the files of a folder have their own in their names.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    at, count = microseconds(datetime.now(UTC)), 0
    files = [(result, ending)]
    if result.is_dir():
        files = [(path, path.suffix) for path in sorted(result.iterdir()) if path.suffix in WRITTEN]
    for path, format_ in files:
        for ids, arms, models in _columns(path, format_, schema, safe_csv=project.settings.safe_csv):
            rows = [
                Exposure(
                    experiment.id,
                    id_,
                    None,
                    at,
                    arm == "challenger",
                    arm == "challenger" and model == experiment.champion_name,
                )
                for id_, arm, model in zip(ids, arms, models, strict=True)
                if id_ is not None and not is_blank(id_)
            ]
            if rows:
                project.exposures.write(rows)
            count += len(rows)
    return count


def _columns(
    path: Path, ending: str, schema: Schema, *, safe_csv: bool
) -> Iterator[tuple[list[str | None], list[str], list[str]]]:
    """Yield ids as the arms are assigned by them, arms and models of a result in parts; nothing if it has no ids."""
    column = schema.identifier or CUSTOMER_ID
    for name, table in _tables(path, ending, schema, column.name):
        table = with_formulas(table) if safe_csv and ending != ".parquet" else table
        ids, _ = check_cells(table.get_column(name), column, path.name, may_be_null=True)
        yield ids.to_list(), table.get_column(ARM).to_list(), table.get_column("model_version").to_list()


def _tables(path: Path, ending: str, schema: Schema, identifier: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the header of the id and the columns in parts, as they are in the file."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    if ending == ".parquet":
        file = pq.ParquetFile(path)
        name = _header(file.schema_arrow.names, schema, identifier)
        if name:
            for batch in file.iter_batches(columns=[name, ARM, "model_version"]):
                yield name, pl.DataFrame(batch)
        return
    with pyarrow.csv.open_csv(path, read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES)) as reader:
        name = _header(reader.schema.names, schema, identifier)
    if name:
        kept = [name, ARM, "model_version"]
        types = dict.fromkeys(kept, pa.string())
        options = pyarrow.csv.ConvertOptions(include_columns=kept, column_types=types, strings_can_be_null=True)
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        with pyarrow.csv.open_csv(path, convert_options=options, parse_options=parse) as reader:
            for batch in reader:
                yield name, pl.DataFrame(batch)


def _header(headers: list[str], schema: Schema, name: str) -> str | None:
    """Return the header of a column in a table; None if the table lacks it."""
    names = schema.rename(headers)
    return next((header for header in headers if names.get(header, header) == name), None)
