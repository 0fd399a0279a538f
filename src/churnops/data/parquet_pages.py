"""Unpacked size of the pages of a Parquet file, from the pages' own headers, because the footer may be wrong.

A reader unpacks a whole page of every column at a time: 33 KB of a constant text may unpack to 700 MB. The headers
are in Thrift's compact protocol, defined as `PageHeader` by the Parquet format (parquet-format, `parquet.thrift`).
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numba import types
from numpy.typing import NDArray

from churnops.compiled import compiled
from churnops.errors import DataError
from churnops.limits import MAX_PREFIXED_BYTES, PAGES_BYTES, PAGES_SHARE

if TYPE_CHECKING:
    import pyarrow.parquet as pq

WINDOW = 2**13  # bytes read at once: a header has about 50, and its statistics at most some thousand
MAX_HEADER = 2**24  # the limit of pyarrow
MAX_SIZE = 2**31 - 1  # largest size of a page: a reader with 32-bit sizes misreads a larger one
DELTA_BYTE_ARRAY = 7  # encoding in which a text may share a prefix with the previous text
_MORE, _DAMAGED = -1, -2
_STOP, _BYTE, _SHORT, _LONG, _DOUBLE, _BINARY, _STRUCT = 0, 3, 4, 6, 7, 8, 12
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PAIR = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]


@compiled(_PAIR(_BYTES, types.int64))
def _varint(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Read an unsigned number; return it and the next position, which is negative if there is no number."""
    value = shift = 0
    while shift <= 63:
        if at >= data.size:
            return 0, _MORE
        value |= np.int64(data[at] & 0x7F) << shift  # type: ignore[assignment]
        if data[at] < 0x80:
            return value, at + 1
        at, shift = at + 1, shift + 7
    return 0, _DAMAGED


@compiled(types.int64(_BYTES, types.int64, types.int64[::1]))
def _header(data: NDArray[np.uint8], at: int, header: NDArray[np.int64]) -> int:
    """Read the header at a position; return the position after it, negative if it is damaged or cut off.

    Writes into `header`: type, unpacked size, stored size, number of values, and whether texts share prefixes. If a
    header describes several kinds of page, their largest number of values is taken.
    """
    header[:] = 0
    fields = np.zeros(8, np.int64)  # the last field at each depth; a header has structs in structs
    depth = 0
    while True:
        if at >= data.size:
            return _MORE
        kind, step = data[at] & 0x0F, data[at] >> 4
        at += 1
        if kind == _STOP:
            if depth == 0:
                return at
            depth -= 1
            continue
        if step > 0:
            fields[depth] += step
        else:
            value, at = _varint(data, at)
            if at < 0:
                return at
            fields[depth] = (value >> 1) ^ -(value & 1)
        field = fields[depth]
        if kind == 1 or kind == 2:  # the type itself holds a truth value
            continue
        if kind == _BYTE:
            at += 1
        elif kind == _DOUBLE:
            at += 8
        elif kind == _BINARY:
            value, at = _varint(data, at)
            if at < 0:
                return at
            if value < 0:
                return _DAMAGED
            if value > data.size - at:
                return _MORE
            at += value
        elif kind == _STRUCT:
            depth += 1
            if depth >= fields.size:
                return _DAMAGED
            fields[depth] = 0
        elif _SHORT <= kind <= _LONG:
            value, at = _varint(data, at)
            if at < 0:
                return at
            value = (value >> 1) ^ -(value & 1)
            if depth == 0 and 1 <= field <= 3:
                if not 0 <= value <= MAX_SIZE:
                    return _DAMAGED
                header[field - 1] = value
            elif depth == 1 and field == 1:
                header[3] = max(header[3], value)
            elif depth == 1 and value == DELTA_BYTE_ARRAY and (field == 2 or field == 4):
                header[4] = 1
        else:  # lists, sets and maps: no page header has one
            return _DAMAGED


@compiled(types.int64(_BYTES, types.int64, types.int64[::1]))
def _walk(data: NDArray[np.uint8], left: int, totals: NDArray[np.int64]) -> int:
    """Walk along the pages of a column with `left` more bytes, as far as their headers are in `data`.

    Updates `totals`: largest unpacked size, number of values, largest unpacked size of a page with shared prefixes.
    Returns the position of the next header, negative if the first header is damaged or cut off.
    """
    header, at = np.empty(5, np.int64), 0
    while at < left and at < data.size:
        body = _header(data, at, header)
        if body < 0:
            return at if body == _MORE and at > 0 else body
        totals[0] = max(totals[0], header[1])
        if header[0] != 2:  # a dictionary's values are not rows
            totals[1] += header[3]
            if header[4] > 0:
                totals[2] = max(totals[2], header[1])
        at = body + header[2]
    return at


def check_pages(path: Path, metadata: "pq.FileMetaData", group: int, leaves: Iterable[int]) -> bool:
    """Check the unpacked size of some columns (leaves) of a row group; return whether texts may share prefixes.

    Raises
    ------
    DataError
        If the largest pages of these columns together unpack to more than 256 MiB or four times the file, whichever is
        more; if a page with shared prefixes unpacks to more than 4 MiB; if pages have more values than the footer
        states; or if a page header is damaged.
    """
    stored, size = metadata.row_group(group), path.stat().st_size
    limit, together, prefixed = max(PAGES_BYTES, PAGES_SHARE * size), 0, False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for position in leaves:
            column = stored.column(position)
            start, dictionary = column.data_page_offset, column.dictionary_page_offset
            if dictionary is not None and 0 < dictionary < start:
                start = dictionary
            largest, values, repeated = _pages(path, descriptor, start, min(column.total_compressed_size, size - start))
            together += largest
            prefixed = prefixed or repeated > 0
            if values > column.num_values or repeated > MAX_PREFIXED_BYTES:
                raise DataError(f"{path} is not a readable Parquet table: a page holds more than it should")
            if together > limit:
                raise DataError(f"{path}: its pages unpack to more than {limit >> 20} MiB at once: write smaller pages")
    finally:
        os.close(descriptor)
    return prefixed


def _pages(path: Path, descriptor: int, start: int, length: int) -> tuple[int, int, int]:
    """Return a column's largest page, number of values, and largest page with shared prefixes (bytes unpacked)."""
    totals, window = np.zeros(3, np.int64), WINDOW
    while length > 0 and start >= 0:
        data = os.pread(descriptor, min(window, length + MAX_HEADER), start)
        step = int(_walk(np.frombuffer(data, np.uint8), length, totals)) if data else _DAMAGED
        if step == _MORE and len(data) == window and window < MAX_HEADER:
            window *= 16
            continue
        if step <= 0:
            raise DataError(f"{path} is not a readable Parquet table: the header of a page is damaged")
        start, length, window = start + step, length - step, WINDOW
    return int(totals[0]), int(totals[1]), int(totals[2])
