"""Profile Parquet files of any size: streamed, in constant memory, on up to four cores."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from churnops.data.parquet import read_footer
from churnops.data.profile import ColumnProfile, Profile, merge_profiles
from churnops.errors import DataError
from churnops.files import usable_cores

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAX_THREADS = 4  # each has its own rows and counts, about 150 MiB for 20 columns
ROWS = 2**17  # read at a time, by each thread
READ_BYTES = 2**20  # read at once from a column; by default whole row groups are read, which may be gigabytes
RUN = 2**20  # rows of consecutive row groups that a thread takes at once, at least one group


def profile_parquet(
    sources: Sequence[Path], reference: Profile, *, on_rows: Callable[[int], None] = lambda rows: None
) -> dict[str, ColumnProfile]:
    """Count the rows of Parquet files in the cells of a reference; the number of threads changes no count.

    Every thread holds 131,072 rows of the reference's columns, so memory depends neither on the number of rows nor on
    their groups. Only the metadata of a file are held whole, about 1 KB for each group and column.

    Parameters
    ----------
    sources
        Files, or folders of them.
    reference
        Profiles by column; every file must have these columns, as numbers or booleans. Numbers are rounded to float64;
        nulls count as missing.
    on_rows
        Called from time to time, in any thread, with the number of rows counted so far.

    Raises
    ------
    DataError
        If there is no file, or if a file is damaged, lacks a column of the reference, or has one without numbers.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import polars as pl
    >>> reference = {"calls": ColumnProfile.fit(np.array([1.0, 2.0]))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in range(3):
    ...         pl.DataFrame({"calls": [part, 2, None]}).write_parquet(f"{folder}/{part}.parquet")
    ...     profile = profile_parquet([Path(folder)], reference)["calls"]
    >>> profile.counts, profile.missing
    (array([1, 1, 0, 4, 0]), 3)
    """
    paths = _files(sources)
    for path in paths:
        _check(path, reference)
    total = {name: column.empty() for name, column in reference.items()}
    done, lock = 0, Lock()

    def count(path: Path, metadata: "pq.FileMetaData", groups: Sequence[int]) -> None:
        nonlocal total, done
        profile = _count_groups(path, metadata, groups, reference)
        with lock:
            total = merge_profiles(total, profile)
            done += sum(metadata.row_group(group).num_rows for group in groups)
            on_rows(done)

    threads = min(usable_cores(), MAX_THREADS)
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for run in _runs(paths):
                pending.append(pool.submit(count, *run))
                if len(pending) > 2 * threads:  # so that only a few files' metadata are held
                    pending.popleft().result()
            for counted in pending:
                counted.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return total


def _runs(paths: Sequence[Path]) -> Iterator[tuple[Path, "pq.FileMetaData", list[int]]]:
    """Cut files into runs of row groups.

    Metadata describe every column of every group, so they are read once for a file, not again for each run.
    """
    for path in paths:
        with _reading(path):
            metadata = read_footer(path)
        run: list[int] = []
        rows = 0
        for group in range(metadata.num_row_groups):
            run.append(group)
            rows += metadata.row_group(group).num_rows
            if rows >= RUN or group == metadata.num_row_groups - 1:
                yield path, metadata, run
                run, rows = [], 0


def _count_groups(
    path: Path, metadata: "pq.FileMetaData", groups: Sequence[int], reference: Profile
) -> dict[str, ColumnProfile]:
    import pyarrow.parquet as pq

    profile = {name: column.empty() for name, column in reference.items()}
    with (
        _reading(path),
        pq.ParquetFile(path, metadata=metadata, pre_buffer=False, buffer_size=READ_BYTES) as file,
    ):
        for batch in file.iter_batches(ROWS, row_groups=groups, columns=list(reference), use_threads=False):
            for name, column in reference.items():
                values = batch.column(name).cast("float64", safe=False).to_numpy(zero_copy_only=False)  # nulls: NaN
                profile[name] = profile[name].merge(column.count(values))
    return profile


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable Parquet table: {str(error).partition(chr(10))[0]}") from None


def _files(sources: Sequence[Path]) -> list[Path]:
    paths = []
    for source in sources:
        below = sorted(path for path in source.iterdir() if path.suffix == ".parquet") if source.is_dir() else [source]
        if not below:
            raise DataError(f"{source} holds no .parquet file")
        paths += below
    return paths


def _check(path: Path, reference: Profile) -> None:
    """Refuse a file that lacks a column of the reference, or whose column has another type than numbers."""
    import pyarrow as pa

    with _reading(path):
        schema = read_footer(path).schema.to_arrow_schema()
    counts = Counter(schema.names)
    # Null is the type of a column without any value.
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    for name in reference:
        if counts[name] != 1:
            raise DataError(f"{path} has {'two columns' if counts[name] else 'no column'} '{name}'")
        kind = schema.field(name).type
        if not any(is_kind(kind) for is_kind in numeric):
            raise DataError(f"{path}: column '{name}' holds {kind}, not numbers")
