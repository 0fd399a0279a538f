"""Printed output of a step: shown, and kept for the step's run."""

import contextlib
import io
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Output:
    """Output of a step so far."""

    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    def files(self) -> dict[str, str | bytes]:
        """Return the artifacts of the output."""
        return {"output/stdout.txt": self.out.getvalue(), "output/stderr.txt": self.err.getvalue()}

    def add_result(self, summary: str) -> None:
        """Add the result in words to the standard output of the run."""
        if summary:
            print(summary, file=self.out)

    def add_error(self, error: BaseException) -> None:
        """Add an error, without its traceback, to the standard error of the run."""
        self.err.writelines(traceback.format_exception_only(error))


@contextlib.contextmanager
def kept_output() -> Iterator[Output]:
    """Keep the block's printed output and log. Warnings and log lines of libraries are kept, but not shown."""
    kept = Output()

    def keep(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        (file or kept.err).write(warnings.formatwarning(message, category, filename, lineno, line))

    log, handler = logging.getLogger(), _LibraryLog(kept.err)
    if log.handlers:  # otherwise Python prints all log lines on standard error
        log.addHandler(handler)
    try:
        with (
            redirect_stdout(Tee(sys.stdout, kept.out)),
            redirect_stderr(Tee(sys.stderr, kept.err)),
            warnings.catch_warnings(),
        ):
            if not sys.warnoptions and not any(action == "error" for action, *_ in warnings.filters):
                for category in (UserWarning, RuntimeWarning, FutureWarning):  # the command ignores them
                    warnings.simplefilter("default", category)
            warnings.showwarning = keep
            yield kept
    finally:
        log.removeHandler(handler)


class _LibraryLog(logging.Handler):
    """Writes the log lines of libraries to the kept output; those of churnops are on standard error."""

    def __init__(self, err: io.StringIO) -> None:
        super().__init__(logging.WARNING)
        self._err = err

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] != "churnops":
            self._err.write(f"{record.levelname} {record.name}: {record.getMessage()}\n")
