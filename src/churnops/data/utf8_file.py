"""A CSV in UTF-8, UTF-16 or Windows-1252, read as UTF-8."""

import codecs
import io
from pathlib import Path

import numpy as np
from numba import types
from numpy.typing import NDArray

from churnops.compiled import compiled

_QUOTE, _LINE_FEED, _RETURN = b'"'[0], b"\n"[0], b"\r"[0]
# Places in a CSV: before a value; in a value without quotes; between quotes; after a quote that closes, or is the first
# of a pair; in text after a quote that closes.
_BEFORE, _BARE, _OPEN, _CLOSED, _BEYOND = range(5)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)


@compiled(types.UniTuple(types.int64, 2)(_BYTES, types.int64, types.int64))  # type: ignore[no-untyped-call]
def count_quotes(data: NDArray[np.uint8], separator: int, place: int) -> tuple[int, int]:
    """Return the number of quotes in values that begin with a quote, and the place after the data.

    Other quotes are ordinary characters, as in the bare value `27" screen`.
    """
    count = 0
    for byte in data:
        if byte == _QUOTE:
            if place != _BARE:
                count += 1
            if place == _OPEN:
                place = _CLOSED
            elif place in (_BEFORE, _CLOSED):
                place = _OPEN
        elif place != _OPEN:
            if byte in (separator, _LINE_FEED, _RETURN):
                place = _BEFORE
            elif place == _BEFORE:
                place = _BARE
            elif place == _CLOSED:
                place = _BEYOND
    return count, place


class Utf8File(io.FileIO):
    """A file that is read as UTF-8.

    Attributes
    ----------
    quotes
        Number of quotes read so far in values that begin with a quote. At the end it is odd if a quote is never closed,
        which swallows rows.
    """

    def __init__(self, path: Path, encoding: str, separator: str) -> None:
        super().__init__(path)
        self.quotes = 0
        self._place = _BEFORE
        self._separator = ord(separator)
        self._encoding = encoding
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._rest = b""
        if encoding.startswith("utf-16"):
            self.seek(2)  # after the byte-order mark

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most `size`.

        Raises
        ------
        ValueError
            If the file is not text in its encoding.
        """
        size = -1 if size is None else size
        data = self._recoded(size) if self._decoder else super().read(size) or b""
        bytes_ = np.frombuffer(data.removeprefix(codecs.BOM_UTF8), np.uint8)
        counted, self._place = count_quotes(bytes_, self._separator, self._place)
        self.quotes += counted
        return data

    def _recoded(self, size: int) -> bytes:
        while not self._rest:
            data = super().read(max(size, 2**16)) or b""
            try:
                self._rest = self._decoder.decode(data, final=not data).encode()  # type: ignore[union-attr]
            except (UnicodeDecodeError, UnicodeEncodeError):
                why = ", although it has a byte-order mark" if self._encoding.startswith("utf-16") else ""
                raise ValueError(f"it is not {self._encoding.upper()} text{why}") from None
            if not data:
                break
        size = len(self._rest) if size < 0 else size
        result, self._rest = self._rest[:size], self._rest[size:]
        return result
