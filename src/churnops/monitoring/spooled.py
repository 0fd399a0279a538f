"""Columns of many customers in a temporary file, so that memory holds one column at a time."""

import tempfile
import weakref
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from churnops.errors import ChurnopsError
from churnops.schema import Columns

IN_MEMORY = 16 << 20
"""Bytes up to which nothing is written to disk."""

Floats = NDArray[np.float64]


class SpooledColumns(Mapping[str, Floats]):
    """Encoded columns, written page by page, and read column by column or page by page.

    The file has no name, and is removed with the object.

    Examples
    --------
    >>> columns = SpooledColumns()
    >>> for minutes in ([1.0, 2.0], [3.0]):
    ...     columns.append({"minutes": np.array(minutes), "calls": np.zeros(len(minutes))})
    >>> list(columns), columns["minutes"], [page["calls"] for page in columns.pages()]
    (['minutes', 'calls'], array([1., 2., 3.]), [array([0., 0.]), array([0.])])
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._ends = [0]  # rows up to the end of each page
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  (closed with the object)
        weakref.finalize(self, self._file.close)

    def append(self, columns: Columns) -> None:
        """Write a page of rows; every page has the same columns.

        Raises
        ------
        ChurnopsError
            If the disk is full.
        """
        if not columns:
            return
        self._names = tuple(columns)
        self._ends.append(self._ends[-1] + next(iter(columns.values())).size)
        try:
            self._file.seek(0, 2)
            for values in columns.values():
                self._file.write(np.ascontiguousarray(values, dtype=np.float64).data)
        except OSError as error:
            raise ChurnopsError(
                f"{tempfile.gettempdir()} cannot hold the customers of the window: {error.strerror}; the variable "
                "TMPDIR names another folder"
            ) from None

    def pages(self) -> Iterator[Columns]:
        """Yield the pages in the order of writing."""
        for page in range(len(self._ends) - 1):
            yield {name: self._read(page, place) for place, name in enumerate(self._names)}

    def __getitem__(self, name: str) -> Floats:
        if name not in self._names:
            raise KeyError(name)
        place = self._names.index(name)
        return np.concatenate([self._read(page, place) for page in range(len(self._ends) - 1)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _read(self, page: int, place: int) -> Floats:
        start, end = self._ends[page : page + 2]
        size = end - start
        self._file.seek(8 * (len(self._names) * start + place * size))
        return np.frombuffer(self._file.read(8 * size), dtype=np.float64)
