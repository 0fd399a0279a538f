"""Write simulated customers to a file that every other command reads."""

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from churnops.data.read import decode, encode, outcomes, read_table, table_paths
from churnops.data.simulate import Drift, Simulated, simulate
from churnops.data.validate import check_customers
from churnops.files import fsync_folder, write_flushed
from churnops.pipelines.targets import check_free, check_target
from churnops.schema import Schema


def simulate_file(
    sources: Sequence[Path],
    target: Path,
    schema: Schema,
    drift: Drift,
    *,
    rows: int,
    seed: int,
    overwrite: bool = False,
) -> Simulated:
    """Simulate customers like those in `sources` and write them to `target`, whole or not at all.

    The headers are those of the first source, the target is the last column. Ids and times are left out: simulated
    customers are nobody.

    Parameters
    ----------
    sources
        Tables or folders of them, with the model's inputs; outcomes may be missing.
    target
        A .csv or .parquet file, by its ending.
    drift, rows, seed
        See `churnops.data.simulate.simulate`.

    Raises
    ------
    DataError
        If a source breaks the Schema, the drift cannot be, or `target` exists or has another ending.
    """
    paths = table_paths(sources)
    check_target(target)
    check_free(target, paths, overwrite)
    made, headers = simulate_customers(paths, schema, drift, rows=rows, seed=seed)
    written = decode(made.columns, made.outcome, schema)
    _write(written.rename({name: headers[name] for name in written.columns if name in headers}), target)
    return made


def simulate_customers(
    sources: Sequence[Path], schema: Schema, drift: Drift, *, rows: int, seed: int
) -> tuple[Simulated, dict[str, str]]:
    """Simulate customers like those in `sources`; return them, and the first source's header of each column."""
    paths = table_paths(sources)
    raw = [read_table(path) for path in paths]
    checked = [
        check_customers(table, schema, path.name, keep_outcome=True) for table, path in zip(raw, paths, strict=True)
    ]
    table = pl.concat(checked, how="diagonal_relaxed")
    made = simulate(encode(table, schema), outcomes(table, schema), schema, drift, rows=rows, seed=seed)
    return made, {name: header for header, name in schema.rename(raw[0].columns).items()}


def _write(table: pl.DataFrame, target: Path) -> None:
    buffer = io.BytesIO()
    if target.suffix.lower() == ".parquet":
        table.write_parquet(buffer)
    else:
        table.write_csv(buffer)
    write_flushed(target, buffer.getbuffer())
    fsync_folder(target.parent)
