"""Standard output and standard error that cannot make a command fail: not by an encoding, not by being closed."""

import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(Exception):
    """Standard output takes nothing more: its reader is gone, or its disk is full. Raised once; the rest is dropped.

    It is no OSError, so that nobody takes it for trouble with a file or a connection.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.reader_gone = isinstance(error, BrokenPipeError)


class _Descriptor(io.FileIO):
    """A standard stream. A write that fails raises `OutputError` if the stream is `strict`, the first time only."""

    def __init__(self, descriptor: int, *, strict: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._strict = strict

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            while (written := super().write(data)) is None:  # a non-blocking stream that is full at the moment
                select.select([], [self.fileno()], [])
            return written
        except OSError as error:
            strict, self._strict = self._strict, False
            if strict:
                raise OutputError(error) from None
            return memoryview(data).nbytes


def prepare_streams() -> None:
    r"""Replace this process's standard output and error by streams that no character and no full disk can break.

    Characters that an encoding lacks are written as escapes, such as `\u2713`. Standard error never raises: there is
    nowhere left to complain to. Standard output raises `OutputError` if it cannot be written to. A descriptor that the
    caller closed leads to /dev/null, so that no file opened later gets its number. Repeating it changes nothing.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
    if sys.stdout is sys.__stdout__:  # else it is captured, or prepared already
        sys.stdout = _stream(1, sys.stdout, strict=True)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr, strict=False)


def _stream(descriptor: int, replaced: TextIO | None, *, strict: bool) -> io.TextIOWrapper:
    encoding = "utf-8" if replaced is None else replaced.encoding
    raw = _Descriptor(descriptor, strict=strict)
    buffer = io.BufferedWriter(raw)
    lines = not strict or raw.isatty()
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=lines)
