"""How a process of the service ends: in time whatever it is doing, and with the process that started it.

An answer is sent only after its commit, so a process that ends abruptly loses nothing that was acknowledged.
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

DRAIN_SECONDS = 23  # requests under way get so long once the service is told to stop
CLOSE_SECONDS = 4.0  # and then the journal, to be closed
WORKER_SECONDS = 28.0  # a process that answers is over by then
STOP_SECONDS = 29.0  # and so is the process that started it

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ending_within(seconds: float) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C, as handled now, end this process within `seconds`, however the handling goes.

    The clock is a thread of `faulthandler`, which needs neither the event loop nor Python's lock; it writes where every
    thread was, and exits with 1. Elsewhere than in the main thread, where no signals arrive, nothing happens.
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
    """Return a descriptor that stays open: standard error's, or one that leads nowhere if there is none."""
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
    """Stop this process, if it is one of several workers, as SIGTERM does when the process that started it is gone.

    The workers share its socket: they would keep the port, and answer with whatever is deployed by then.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent,), name="parent", daemon=True).start()


def _stop_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
