"""Read Parquet in constant memory, although a few bytes of it may represent gigabytes of text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churnops.data.parquet_columns import Others, is_needed, leaves_of, readable_columns
from churnops.data.parquet_pages import check_pages
from churnops.data.text_columns import with_valid_text
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
    path: Path, rows: int, skip: int, schema: Schema | None = None, others: Others = "all", end: int | None = None
) -> Iterator[tuple["pa.RecordBatch", int, float]]:
    """Yield pieces of a Parquet file, each with the number of rows above it and the share of the file read.

    Row groups within the skipped rows, and from row `end` on, are not read. Until the length of the rows is known, text
    is held as dictionaries, so a repeated value takes memory once. If `others` is "names", columns outside the Schema
    are null.

    Raises
    ------
    DataError
        If a row has more than 1 MiB, columns are stored in the same bytes, lists hold more values than fit into memory,
        or `read_footer`, `check_pages` or `readable_columns` refuse the file. Only the columns that are read count.
    """
    import pyarrow.parquet as pq

    metadata = read_footer(path)
    with pq.ParquetFile(path, metadata=metadata, pre_buffer=False, buffer_size=2**20) as file:
        layout = _FileLayout.of(file, path, schema, others)
        texts, total = _texts(file, layout.leaves), file.metadata.num_rows
        first = above = 0
        while first < metadata.num_row_groups and above + metadata.row_group(first).num_rows <= skip:
            above += metadata.row_group(first).num_rows
            first += 1
        limit = min(max(rows, READ_ROWS), _fitting(layout.read, path))
    names = [name for _, name in texts]
    unread = path.stat().st_size
    with pq.ParquetFile(path, metadata=metadata, pre_buffer=False, buffer_size=2**20, read_dictionary=names) as file:
        for group in range(first, metadata.num_row_groups):
            if end is not None and above >= end:
                return
            unread -= _stored_bytes(metadata, group, layout.leaves)
            if unread < 0:
                raise DataError(f"{path} is not a readable Parquet table: its columns overlap")
            prefixed = check_pages(path, metadata, group, layout.leaves)
            size = _first(
                file, group, [position for position, _ in texts], LONG_ROWS if prefixed else limit, layout.leaves, path
            )
            # Columns are chosen by position, because names may be repeated.
            for batch in file.reader.iter_batches(size, [group], column_indices=layout.leaves, use_threads=False):
                for large in _decoded(batch, layout, above, path) if layout.leaves else (batch,):
                    for start in range(0, large.num_rows, rows):
                        piece = layout.complete(large.slice(start, rows), path, above)
                        above += piece.num_rows
                        yield piece, above - piece.num_rows, above / total


@dataclass(frozen=True)
class _FileLayout:
    """Columns of a file.

    Attributes
    ----------
    read
        Columns that are read.
    leaves
        Positions of their parts in the file.
    result
        Names of the columns of the result: those that are read, and those that are null.
    needed
        Names of the columns whose texts must be UTF-8.
    """

    read: "pa.Schema"
    leaves: list[int]
    result: list[str]
    needed: frozenset[str]

    @classmethod
    def of(cls, file: "pq.ParquetFile", path: Path, schema: Schema | None, others: Others) -> "_FileLayout":
        import pyarrow as pa

        fields = readable_columns(file, path, schema, others)
        leaves: list[int] = []
        first = 0
        for declared, field in zip(file.schema_arrow, fields, strict=True):
            after = first + leaves_of(declared.type)
            leaves += range(first, after) if field is not None else ()
            first = after
        read = [field for field in fields if field is not None]
        names = [field.name for field in read]
        needed = frozenset(name for name in names if schema is None or is_needed(name, schema))
        result = [*dict.fromkeys(file.schema_arrow.names)] if others == "names" or not read else names
        return cls(pa.schema(read), leaves, result, needed)

    def shortened(self, batch: "pa.RecordBatch") -> "pa.RecordBatch | None":
        """Return rows without the long values of the columns that are not needed: they are null.

        What is left of these columns fits into a row. Returns None if there is no such value.
        """
        import pyarrow as pa

        arrays, changed = [], False
        for column, field in zip(batch.columns, self.read, strict=True):
            long = _row_bytes(column, batch.num_rows) > MAX_ROW_BYTES // batch.num_columns
            long &= column.is_valid().to_numpy(zero_copy_only=False)
            if field.name not in self.needed and long.any():
                column, changed = column.take(pa.array(np.arange(len(column)), mask=long)), True
            arrays.append(column)
        return pa.RecordBatch.from_arrays(arrays, schema=batch.schema) if changed else None

    def complete(self, batch: "pa.RecordBatch", path: Path, above: int) -> "pa.RecordBatch":
        """Return rows with valid texts, and nulls in the columns that are not read."""
        import pyarrow as pa

        places = {name: place for place, name in enumerate(batch.schema.names)}
        arrays, fields = [], []
        for name in self.result:
            array, field = pa.nulls(batch.num_rows), pa.field(name, pa.null())
            if name in places:
                array, field = batch.column(places[name]), batch.schema.field(places[name])
                array = with_valid_text(array, name, needed=name in self.needed, path=path, above=above)
            arrays.append(array)
            fields.append(field)
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _stored_bytes(metadata: "pq.FileMetaData", group: int, leaves: list[int]) -> int:
    stored = metadata.row_group(group)
    return sum(max(stored.column(position).total_compressed_size, 0) for position in leaves)


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


def _decoded(batch: "pa.RecordBatch", layout: _FileLayout, above: int, path: Path) -> Iterator["pa.RecordBatch"]:
    """Cut a batch so that no piece is too large once its dictionaries are plain text."""
    import pyarrow as pa

    columns = list(zip(batch.columns, layout.read, strict=True))
    longest = sum(_longest(column) for column, _ in columns)
    if longest > MAX_ROW_BYTES or longest * batch.num_rows > MAX_BATCH_BYTES:
        sizes = np.zeros(batch.num_rows, dtype=np.int64)
        for column, _ in columns:
            sizes += _row_bytes(column, batch.num_rows)
        if sizes.max(initial=0) > MAX_ROW_BYTES:
            if shorter := layout.shortened(batch):
                yield from _decoded(shorter, layout, above, path)
                return
            row = above + int(np.argmax(sizes > MAX_ROW_BYTES)) + 1
            raise DataError(f"{path}: row {row} is longer than {MAX_ROW_BYTES >> 20} MiB")
        if sizes.sum() > MAX_BATCH_BYTES and batch.num_rows > 1:
            half = batch.num_rows // 2
            yield from _decoded(batch.slice(0, half), layout, above, path)
            yield from _decoded(batch.slice(half), layout, above + half, path)
            return
    arrays = [_plain(column, field.type) for column, field in columns]
    fields = [field.with_type(array.type) for array, (_, field) in zip(arrays, columns, strict=True)]
    yield pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


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
