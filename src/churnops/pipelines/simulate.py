"""Write simulated customers to a file that every command can read and no command treats as production."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from churnops.data.preprocess import Imputer
from churnops.data.read import decode, encode, marked, outcomes, read_table, table_paths
from churnops.data.simulate import Drift, Simulated, simulate
from churnops.data.stored import fetch
from churnops.data.targets import check_free, check_target
from churnops.data.validate import check_customers
from churnops.files import fsync_folder, write_flushed
from churnops.project import Project
from churnops.schema import Schema
from churnops.settings import Settings


def simulate_file(
    sources: Sequence[Path],
    target: Path,
    settings: Settings,
    drift: Drift,
    *,
    rows: int,
    seed: int,
    overwrite: bool = False,
) -> Simulated:
    """Simulate customers like those in `sources` and write them to `target`, whole or not at all.

    The file has the headers of the first source, the outcome, and `churnops_simulated`, which is true in every row. It
    has no ids and no times.

    Parameters
    ----------
    sources
        Tables or folders of them, with the model's inputs; outcomes may be missing.
    target
        Path of a .csv or .parquet file.
    drift, rows, seed
        See `churnops.data.simulate.simulate`.

    Raises
    ------
    DataError
        If a source breaks the Schema, the drift is impossible, or `target` exists or has another ending.
    JournalError
        If the journal cannot record the file's hash. Nothing is written then.
    """
    paths = table_paths(sources)
    check_target(target)
    check_free(target, paths, overwrite)
    made, table = simulate_table(paths, settings.table, drift, rows=rows, seed=seed)
    content = _content(table, target.suffix.lower())
    remember(settings, [content], made.description)
    write_flushed(target, content)
    fsync_folder(target.parent)
    return made


def source_tables(settings: Settings) -> list[Path]:
    """Return the tables to draw from by default: `data.production`, or `data.raw` if there is none."""
    return [fetch(settings, source) for source in settings.data.production or settings.training_tables]


def simulate_table(
    sources: Sequence[Path], schema: Schema, drift: Drift, *, rows: int, seed: int
) -> tuple[Simulated, pl.DataFrame]:
    """Simulate customers like those in `sources`; return them, also as the table that `simulate_file` writes.

    In the table, a personal column has its median or most frequent choice in every row.
    """
    made, headers = simulate_customers(sources, schema, drift, rows=rows, seed=seed)
    personal = [column for column in schema.inputs if column.personal and column.name in made.columns]
    imputer = Imputer.fit(made.columns, personal)
    constant = {name: np.full(made.outcome.size, value) for name, value in imputer.constants.items()}
    table = decode({**made.columns, **constant}, made.outcome, schema)
    return made, marked(table.rename({name: headers[name] for name in table.columns if name in headers}))


def remember(settings: Settings, contents: Iterable[bytes], description: str) -> None:
    """Record files as simulated in the journal, by the hash of their content."""
    with Project.open(settings) as project:
        for content in contents:
            project.simulated.add(hashlib.sha256(content).hexdigest(), description)


def simulate_customers(
    sources: Sequence[Path], schema: Schema, drift: Drift, *, rows: int, seed: int
) -> tuple[Simulated, dict[str, str]]:
    """Simulate customers like those in `sources`; return them, and the first source's header of each column."""
    paths = table_paths(sources)
    raw = [read_table(path, schema) for path in paths]
    checked = [
        check_customers(table, schema, path.name, keep_outcome=True, may_have_gaps=True)
        for table, path in zip(raw, paths, strict=True)
    ]
    table = pl.concat(checked, how="diagonal_relaxed")
    made = simulate(encode(table, schema), outcomes(table, schema), schema, drift, rows=rows, seed=seed)
    return made, {name: header for header, name in schema.rename(raw[0].columns).items()}


def _content(table: pl.DataFrame, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".parquet":
        table.write_parquet(buffer)
    else:
        table.write_csv(buffer)
    return buffer.getvalue()
