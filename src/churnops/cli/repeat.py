"""Repeat a job in one process of this machine, until a signal stops it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType

from churnops.errors import ChurnopsError
from churnops.files import lock_folder


def repeat(every: timedelta, job: Callable[[], None], folder: Path, on_error: Callable[[Exception], None]) -> None:
    """Run `job` at once and then once per `every`, until SIGTERM or Ctrl-C; finish a running job first.

    After a job that takes longer than `every`, the next starts at once; missed jobs are skipped. The exception of a
    failed job goes to `on_error`, and the next job runs as planned.

    Raises
    ------
    ChurnopsError
        If another process repeats a job in `folder`. That process locks the folder until it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder) as held, _stop_signals() as stop:
        if not held:
            raise ChurnopsError(
                f"another process already repeats this command in {folder}: stop it first, or omit --every"
            )
        while not stop.is_set():
            started = time.monotonic()
            try:
                job()
            except Exception as error:  # one failed cycle must not end the monitoring
                on_error(error)
            stop.wait(max(every.total_seconds() - (time.monotonic() - started), 0.0))


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and Ctrl-C set; restore the earlier signal handlers at the end."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
