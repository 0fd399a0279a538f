"""A CSV in UTF-8 or UTF-16, read as UTF-8."""

import codecs
import io
from pathlib import Path


class Utf8File(io.FileIO):
    """A file that is read as UTF-8. Its quotes are counted, because a quote that is never closed swallows rows."""

    def __init__(self, path: Path, encoding: str) -> None:
        super().__init__(path)
        self.quotes = 0
        self._encoding = encoding
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._rest = b""
        if self._decoder:
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
        self.quotes += data.count(b'"')
        return data

    def _recoded(self, size: int) -> bytes:
        while not self._rest:
            data = super().read(max(size, 2**16)) or b""
            try:
                self._rest = self._decoder.decode(data, final=not data).encode()  # type: ignore[union-attr]
            except (UnicodeDecodeError, UnicodeEncodeError):
                raise ValueError(
                    f"it is not {self._encoding.upper()} text, although it has a byte-order mark"
                ) from None
            if not data:
                break
        size = len(self._rest) if size < 0 else size
        result, self._rest = self._rest[:size], self._rest[size:]
        return result
