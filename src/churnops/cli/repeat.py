"""Repeat a job on this machine until told to stop, one such process at a time."""

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
    """Run `job` now and then once per `every`, until SIGTERM or Ctrl-C; a job under way is finished first.

    A job that takes longer than `every` is followed by the next at once; missed ones are not made up for. A job that
    fails, for whatever reason, is told to `on_error`, and the next one runs as planned.

    Raises
    ------
    ChurnopsError
        If another process does the same in `folder`: it holds a lock there, which ends with it even if it is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder) as held, _told_to_stop() as stop:
        if not held:
            raise ChurnopsError(f"another process repeats this in {folder} already: stop it first, or run one cycle")
        while not stop.is_set():
            started = time.monotonic()
            try:
                job()
            except Exception as error:  # whatever it is: a watchman who goes home is worse than one who complains
                on_error(error)
            stop.wait(max(every.total_seconds() - (time.monotonic() - started), 0.0))


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and Ctrl-C set; the handlers there were come back at the end."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
