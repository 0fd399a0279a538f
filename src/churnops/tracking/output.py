"""Printed output of a step: shown, and kept for the run."""

import contextlib
import io
from typing import TextIO

from churnops.console import OutputError


class Tee(io.TextIOBase):
    """Writes to a buffer and to the original stream, which may be None, closed or unable to encode a character."""

    def __init__(self, stream: TextIO | None, copy: io.StringIO) -> None:
        self._stream = stream
        self._copy = copy

    def write(self, text: str) -> int:
        """Write a text to both; an error of the original stream is ignored."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError, OutputError):
                self._stream.write(text)
        return self._copy.write(text)

    def flush(self) -> None:
        """Flush the original stream."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError, OutputError):
                self._stream.flush()


def printed(out: io.StringIO, err: io.StringIO) -> dict[str, str | bytes]:
    """Return the artifacts of the printed output."""
    return {"output/stdout.txt": out.getvalue(), "output/stderr.txt": err.getvalue()}
