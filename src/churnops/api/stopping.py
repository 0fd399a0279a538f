"""End of a process of the service: within a time limit, and together with the process that started it.

An answer is sent only after its commit, so an abrupt end loses no acknowledged prediction.
"""

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

DRAIN_SECONDS = 23  # limit for current requests after the signal to stop
CLOSE_SECONDS = 4.0  # limit for closing the journal after that
WORKER_SECONDS = 28.0  # limit for a worker, from the signal
STOP_SECONDS = 29.0  # limit for the process that started the workers

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ending_within(seconds: float) -> Iterator[None]:
    """Exit within `seconds` after SIGTERM or Ctrl-C, even if the signal's handler hangs.

    The timer is a thread of `faulthandler`, which needs neither the event loop nor Python's lock. It writes the stacks
    of all threads and exits with 1. Only the main thread gets signals; in another thread nothing is set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    output = _open_descriptor()
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, _with_clock(handler, seconds, output))
    try:
        yield
    finally:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, handler)


def _open_descriptor() -> int:
    """Return a copy of standard error's descriptor, or one of the null device if there is none."""
    try:
        return os.dup(2)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _with_clock(handler: Callable[[int, FrameType | None], Any], seconds: float, output: int) -> Callable[..., None]:
    started = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal started
        if not started:
            started = True
            faulthandler.dump_traceback_later(seconds, exit=True, file=output)
        handler(number, frame)

    return handle


def end_with_parent() -> None:
    """Stop a worker with SIGTERM when the process that started it ends.

    Otherwise the workers, which share its socket, would keep the port and go on answering.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent,), name="parent", daemon=True).start()


def _stop_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
