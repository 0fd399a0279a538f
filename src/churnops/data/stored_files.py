"""Files of a data set in an object store, copied in part: what tells their columns, and the rows of a task.

A copy of a Parquet file is sparse: it has the object's size, and only the bytes that will be read take space.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import IO

from churnops.data.parquet import read_footer
from churnops.errors import DataError
from churnops.limits import MAX_FOOTER_BYTES, MAX_ROW_BYTES
from churnops.objects import ConditionError, Listed, ObjectStore

FOOTER_BYTES = 2**16
"""Bytes at the end of a Parquet file that are read first: most footers are shorter."""
PADDING = 100
"""Bytes that a reader may read after a column chunk, because old writers stated its size without its header."""


@dataclass(frozen=True)
class StoredFile:
    """An object of a data set, as it was listed."""

    store: ObjectStore
    object: Listed

    @classmethod
    def of(cls, address: str, name: str, version: str) -> "StoredFile":
        """Find an object below an address; `version` is its etag without quotes.

        Raises
        ------
        DataError
            If it is another one by now.
        """
        store = ObjectStore(address)
        listed = store.find(name)
        if listed is None or unquoted(listed.etag) != version:
            raise _changed(store, name)
        return cls(store, listed)

    def fetch_head(self, path: Path) -> None:
        """Copy the footer of a Parquet file, or the first MiB of a CSV."""
        with path.open("w+b") as file:
            if path.suffix.lower() == ".parquet":
                self._fetch_footer(file)
            else:
                self._fetch(file, 0, min(self.object.bytes, MAX_ROW_BYTES))

    def fetch_rows(self, path: Path, first: int, end: int | None) -> None:
        """Copy the row groups of a Parquet file that have the rows from `first` to before `end`, or a whole CSV."""
        with path.open("w+b") as file:
            if path.suffix.lower() != ".parquet":
                self._fetch(file, 0, self.object.bytes)
                return
            self._fetch_footer(file)
            file.flush()
            metadata, above = read_footer(path), 0
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                if above + group.num_rows > first and (end is None or above < end):
                    chunks = [group.column(position) for position in range(group.num_columns)]
                    starts = [min(c.dictionary_page_offset or c.data_page_offset, c.data_page_offset) for c in chunks]
                    ends = [start + chunk.total_compressed_size for start, chunk in zip(starts, chunks, strict=True)]
                    self._fetch(file, min(starts), max(ends) + PADDING)
                above += group.num_rows

    def _fetch_footer(self, file: IO[bytes]) -> None:
        size = self.object.bytes
        file.truncate(size)
        tail = max(size - FOOTER_BYTES, 0)
        self._fetch(file, tail, size)
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
        self._fetch(file, size - min(length, MAX_FOOTER_BYTES) - 8, tail)

    def _fetch(self, file: IO[bytes], start: int, end: int) -> None:
        """Copy bytes to the same place in a file."""
        start, end = max(start, 0), min(end, self.object.bytes)
        file.seek(start)
        try:
            self.store.fetch(self.object, start, end, file)
        except ConditionError:
            raise _changed(self.store, self.object.name) from None


def unquoted(etag: str) -> str:
    """Return an etag without the quotes that Azure's lists leave out."""
    return etag.strip('"')


def _changed(store: ObjectStore, name: str) -> DataError:
    return DataError(f"{store.address}/{name} changed while it was read: type the command again")
