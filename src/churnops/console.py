"""Standard output and error of commands: they survive any character, closed streams and full disks, and stay quiet.

Warnings and log lines of other libraries are kept off the screen. The log of churnops itself is shown.
"""

import io
import logging
import os
import select
import sys
import warnings
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(Exception):
    """Standard output cannot be written to: its reader is gone, or its disk is full. Raised once; later output is lost.

    It is not an `OSError`, so that no handler mistakes it for an error of a file or a connection.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.reader_gone = isinstance(error, BrokenPipeError)


class _Descriptor(io.FileIO):
    """A standard stream. If it is `strict`, the first failed write raises `OutputError`; other failures are ignored."""

    def __init__(self, descriptor: int, *, strict: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._strict = strict

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            while (written := super().write(data)) is None:  # a non-blocking stream is full
                select.select([], [self.fileno()], [])
            return written
        except OSError as error:
            strict, self._strict = self._strict, False
            if strict:
                raise OutputError(error) from None
            return memoryview(data).nbytes


def prepare_streams() -> None:
    r"""Replace standard output and error by streams that survive any character and a full disk.

    A character outside the encoding is written as an escape, such as `\u2713`. Standard output raises `OutputError` if
    it cannot be written to; standard error never raises, as there is no other place for a message. A descriptor that
    the caller closed leads to /dev/null, so that no file opened later gets its number. A repeated call changes nothing.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number, which is this one
    if sys.stdout is sys.__stdout__:  # otherwise it is captured or already prepared
        sys.stdout = _stream(1, sys.stdout, strict=True)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr, strict=False)


def quiet_libraries() -> None:
    """Hide the warnings and log lines of other libraries; warnings and errors in the log of churnops are printed.

    Filters of warnings that the user (`-W`, `PYTHONWARNINGS`) or the calling program chose stay.
    """
    if not sys.warnoptions and not any(action == "error" for action, *_ in warnings.filters):
        warnings.simplefilter("ignore")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # MLflow would add a handler of its own
    root = logging.getLogger()
    if not any(isinstance(handler, _OwnLog) for handler in root.handlers):
        root.addHandler(_OwnLog(logging.WARNING))


def quiet_processes() -> None:
    """Hide the warnings of Python's libraries in the processes that this one starts, unless the user shows them."""
    os.environ.setdefault("PYTHONWARNINGS", "ignore")


class _OwnLog(logging.Handler):
    """Prints the messages of churnops on standard error, and no others."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] == "churnops":
            sys.stderr.write(f"warning: {record.getMessage()}\n")


def _stream(descriptor: int, replaced: TextIO | None, *, strict: bool) -> io.TextIOWrapper:
    encoding = "utf-8" if replaced is None else replaced.encoding
    raw = _Descriptor(descriptor, strict=strict)
    buffer = io.BufferedWriter(raw)
    by_line = not strict or raw.isatty()
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=by_line)
