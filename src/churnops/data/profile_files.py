"""Profile Parquet files of any size: streamed, in constant memory, on up to four cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from churnops.data.profile import ColumnProfile, Profile, merge_profiles
from churnops.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAX_THREADS = 4  # each has its own rows and counts, about 150 MiB for 20 columns
ROWS = 2**17  # read at a time, by each thread
READ_BYTES = 2**20  # of a column: without such a buffer a row group's columns are held whole, gigabytes of them


def profile_parquet(
    sources: Sequence[Path], reference: Profile, *, on_rows: Callable[[int], None] = lambda rows: None
) -> dict[str, ColumnProfile]:
    """Count the rows of Parquet files in the cells of a reference: exactly what counting them at once would give.

    Every thread holds 131,072 rows of the reference's columns, so memory depends neither on how many rows there are nor
    on how they are grouped.

    Parameters
    ----------
    sources
        Files, or folders of them.
    reference
        Profiles by column; every file must have these columns, as numbers or booleans. Numbers are rounded to float64;
        nulls count as missing.
    on_rows
        Told, from time to time and by any thread, how many rows are counted.

    Raises
    ------
    DataError
        If there is no file, or one is damaged, lacks a column, or holds something else than numbers in it.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import polars as pl
    >>> reference = {"calls": ColumnProfile.fit(np.array([1.0, 2.0]))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in range(3):
    ...         pl.DataFrame({"calls": [part, 2, None]}).write_parquet(f"{folder}/{part}.parquet")
    ...     found = profile_parquet([Path(folder)], reference)["calls"]
    >>> found.counts, found.missing
    (array([1, 1, 0, 4, 0]), 3)
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    total = {name: column.empty() for name, column in reference.items()}
    done, lock = 0, Lock()

    def count(path: Path, group: int) -> None:
        nonlocal total, done
        try:
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BYTES) as file:
                found = _count_group(file, group, reference)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a readable Parquet table: {str(error).partition(chr(10))[0]}") from None
        with lock:
            total = merge_profiles(total, found)
            done += file.metadata.row_group(group).num_rows
            on_rows(done)

    pieces = [(path, group) for path in _files(sources) for group in range(_groups(path, reference))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(min(cores or 1, MAX_THREADS)) as pool:
        try:
            for counted in [pool.submit(partial(count, *piece)) for piece in pieces]:
                counted.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return total


def _count_group(file: "pq.ParquetFile", group: int, reference: Profile) -> dict[str, ColumnProfile]:
    found = {name: column.empty() for name, column in reference.items()}
    batches = file.iter_batches(ROWS, row_groups=[group], columns=list(reference), use_threads=False)
    for batch in batches:
        for name, column in reference.items():
            values = batch.column(name).cast("float64", safe=False).to_numpy(zero_copy_only=False)  # nulls become NaN
            found[name] = found[name].merge(column.count(values))
    return found


def _files(sources: Sequence[Path]) -> list[Path]:
    paths = []
    for source in sources:
        below = sorted(path for path in source.iterdir() if path.suffix == ".parquet") if source.is_dir() else [source]
        if not below:
            raise DataError(f"{source} holds no .parquet file")
        paths += below
    return paths


def _groups(path: Path, reference: Profile) -> int:
    """Return the number of row groups of a file that has all columns, as numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, groups = file.schema_arrow, int(file.metadata.num_row_groups)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable Parquet table: {str(error).partition(chr(10))[0]}") from None
    # Null is the type of a column in which nobody has a value.
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    for name in reference:
        if schema.names.count(name) != 1:
            raise DataError(f"{path} has {'two columns' if name in schema.names else 'no column'} '{name}'")
        kind = schema.field(name).type
        if not any(is_kind(kind) for is_kind in numeric):
            raise DataError(f"{path}: column '{name}' holds {kind}, not numbers")
    return groups
