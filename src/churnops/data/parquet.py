"""Read Parquet in constant memory, although a few bytes of it may represent gigabytes of text."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churnops.data.parquet_columns import leaves_of, readable_columns
from churnops.data.parquet_pages import check_pages
from churnops.errors import DataError
from churnops.limits import FOOTER_BYTES, FOOTER_SHARE, MAX_BATCH_BYTES, MAX_COLUMNS, MAX_FOOTER_BYTES, MAX_ROW_BYTES
from churnops.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

READ_ROWS = 25_000  # fewest rows to read at once, because each batch repeats the dictionary
LONG_ROWS = 64  # rows to read at once from a row group with more text than a batch may hold


def read_footer(path: Path) -> "pq.FileMetaData":
    """Read the footer of a Parquet file, if it is not too large.

    Raises
    ------
    DataError
        If the footer is longer than a file of this size may have, or there are more than 10,000 columns.
    pyarrow.ArrowException
        If the file is not Parquet.
    """
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
    limit = min(max(FOOTER_BYTES, size // FOOTER_SHARE), MAX_FOOTER_BYTES)
    if limit < length <= size:  # a length beyond the file means that it is not Parquet
        raise DataError(
            f"{path}: its footer has {length >> 20} MiB; the limit for a file of this size is {limit >> 20} MiB: "
            "write larger row groups"
        )
    metadata = pq.read_metadata(path)
    if metadata.num_columns > MAX_COLUMNS:
        raise DataError(f"{path} has {metadata.num_columns} columns: at most {MAX_COLUMNS} are read")
    return metadata


def read_parquet(
    path: Path, rows: int, skip: int, schema: Schema | None = None
) -> Iterator[tuple["pa.RecordBatch", int, float]]:
    """Yield pieces of a Parquet file, each with the number of rows above it and the share of the file read.

    Row groups within the skipped rows are not decoded. Until the length of the rows is known, text is held as
    dictionaries, so a repeated value takes memory once.

    Raises
    ------
    DataError
        If a row has more than 1 MiB, columns are stored in the same bytes, lists hold more values than fit into memory,
        or `read_footer`, `check_pages` or `readable_columns` refuse the file.
    """
    import pyarrow.parquet as pq

    metadata = read_footer(path)
    with pq.ParquetFile(path, metadata=metadata, pre_buffer=False, buffer_size=2**20) as file:
        plain, total = readable_columns(file.schema_arrow, path, schema), file.metadata.num_rows
        leaves = _leaves_read(file.schema_arrow, plain)
        texts = _texts(file, leaves)
        first = above = 0
        while first < metadata.num_row_groups and above + metadata.row_group(first).num_rows <= skip:
            above += metadata.row_group(first).num_rows
            first += 1
        limit = min(max(rows, READ_ROWS), _fitting(plain, path))
        columns = None if len(plain) == len(file.schema_arrow) else plain.names
    names = [name for _, name in texts]
    unread = path.stat().st_size
    with pq.ParquetFile(path, metadata=metadata, pre_buffer=False, buffer_size=2**20, read_dictionary=names) as file:
        for group in range(first, metadata.num_row_groups):
            unread -= _stored_bytes(metadata, group)
            if unread < 0:
                raise DataError(f"{path} is not a readable Parquet table: its columns overlap")
            prefixed = check_pages(path, metadata, group)
            size = _first(
                file, group, [position for position, _ in texts], LONG_ROWS if prefixed else limit, leaves, path
            )
            for batch in file.iter_batches(batch_size=size, row_groups=[group], use_threads=False, columns=columns):
                for large in _decoded(batch.select(plain.names) if columns else batch, plain, above, path):
                    for start in range(0, large.num_rows, rows):
                        piece = large.slice(start, rows)
                        above += piece.num_rows
                        yield piece, above - piece.num_rows, above / total


def _stored_bytes(metadata: "pq.FileMetaData", group: int) -> int:
    stored = metadata.row_group(group)
    return sum(max(stored.column(position).total_compressed_size, 0) for position in range(stored.num_columns))


def _leaves_read(declared: "pa.Schema", plain: "pa.Schema") -> list[int]:
    """Return the positions of the leaves of the columns that are read."""
    read, first = set(plain.names), 0
    leaves: list[int] = []
    for field in declared:
        after = first + leaves_of(field.type)
        leaves += range(first, after) if field.name in read else ()
        first = after
    return leaves


def _texts(file: "pq.ParquetFile", leaves: list[int]) -> list[tuple[int, str]]:
    """Return position and path of the leaves with values of variable length: text and bytes."""
    return [
        (position, leaf.path)
        for position, leaf in ((position, file.schema.column(position)) for position in leaves)
        if leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type != "DECIMAL"
    ]


def _fitting(schema: "pa.Schema", path: Path) -> int:
    """Return how many rows fit into a batch, if a value of variable width takes 8 bytes."""
    width = 0
    for field in schema:
        try:
            width += max(field.type.bit_width // 8, 1)
        except ValueError:
            width += 8
    if width > MAX_ROW_BYTES:
        raise DataError(f"{path}: row 1 is longer than {MAX_ROW_BYTES >> 20} MiB")
    return max(MAX_BATCH_BYTES // max(width, 1), 1)


def _first(file: "pq.ParquetFile", group: int, texts: list[int], rows: int, leaves: list[int], path: Path) -> int:
    """Return how many rows of a row group to read at once, judged by the file's metadata."""
    stored = file.metadata.row_group(group)
    if sum(stored.column(position).total_uncompressed_size for position in texts) > MAX_BATCH_BYTES:
        rows = min(rows, LONG_ROWS)
    for position in leaves:
        leaf = file.schema.column(position)
        values = stored.column(position).num_values
        if leaf.max_repetition_level and values * 8 > MAX_BATCH_BYTES * 4:
            name = stored.column(position).path_in_schema.partition(".")[0]
            raise DataError(
                f"{path}: column {name!r} holds lists with {values} values in one row group: write smaller row groups"
            )
    return rows


def _decoded(batch: "pa.RecordBatch", plain: "pa.Schema", above: int, path: Path) -> Iterator["pa.RecordBatch"]:
    """Cut a batch so that no piece is too large once its dictionaries are plain text."""
    import pyarrow as pa

    columns = list(zip(batch.columns, plain, strict=True))
    longest = sum(_longest(column) for column, _ in columns)
    if longest > MAX_ROW_BYTES or longest * batch.num_rows > MAX_BATCH_BYTES:
        sizes = np.zeros(batch.num_rows, dtype=np.int64)
        for column, _ in columns:
            sizes += _row_bytes(column, batch.num_rows)
        if sizes.max(initial=0) > MAX_ROW_BYTES:
            row = above + int(np.argmax(sizes > MAX_ROW_BYTES)) + 1
            raise DataError(f"{path}: row {row} is longer than {MAX_ROW_BYTES >> 20} MiB")
        if sizes.sum() > MAX_BATCH_BYTES and batch.num_rows > 1:
            half = batch.num_rows // 2
            yield from _decoded(batch.slice(0, half), plain, above, path)
            yield from _decoded(batch.slice(half), plain, above + half, path)
            return
    arrays = [_plain(column, field.type) for column, field in columns]
    fields = [field.with_type(array.type) for array, (_, field) in zip(arrays, columns, strict=True)]
    yield pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=plain.metadata))


def _plain(column: Any, kind: Any) -> Any:
    """Return a column as `kind`, its type in the file; decode a dictionary that the reader has made."""
    import pyarrow as pa

    if column.type == kind or pa.types.is_dictionary(kind):
        return column
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column.cast(kind)


def _lengths(values: Any) -> npt.NDArray[np.int64]:
    """Return the number of bytes of each text; 0 for a missing text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        if not len(values.dictionary):
            return np.zeros(len(values), dtype=np.int64)
        own = _lengths(values.dictionary)
        taken: npt.NDArray[np.int64] = own[values.indices.fill_null(0).to_numpy(zero_copy_only=False)]
        taken[values.is_null().to_numpy(zero_copy_only=False)] = 0
        return taken
    lengths: npt.NDArray[np.int64] = (
        pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    return lengths


def _leaves(column: Any) -> Iterator[Any]:
    """Yield the innermost columns of a nested column."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_struct(kind):
        for child in column.flatten():
            yield from _leaves(child)
    elif pa.types.is_map(kind):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(column.flatten())
    else:
        yield column


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    return bool(large or pa.types.is_string(kind) or pa.types.is_binary(kind))


def _longest(column: Any) -> int:
    """Return a quick upper bound on the bytes of text in a row."""
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        return sum(int(_lengths(leaf).sum()) if _is_text(leaf.type) else leaf.nbytes for leaf in _leaves(column))
    if not _is_text(column.type):
        return 0
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    return int(_lengths(values).max(initial=0))


def _row_bytes(column: Any, rows: int) -> npt.NDArray[np.int64]:
    """Return the bytes of text and lists in each row."""
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        size = _longest(column)
        if rows <= 1 or size <= MAX_ROW_BYTES:  # no row is too long, so an average suffices
            return np.full(rows, -(-size // max(rows, 1)), dtype=np.int64)
        half = rows // 2
        parts = _row_bytes(column.slice(0, half), half), _row_bytes(column.slice(half), rows - half)
        return np.concatenate(parts)
    return _lengths(column) if _is_text(column.type) else np.zeros(rows, dtype=np.int64)
