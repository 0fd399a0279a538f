"""Calls that are given up after a time, because they may hang."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from churnops.api.work import Threads

T = TypeVar("T")


class Bounded:
    """Calls functions in idle threads. A call that hangs is given up and keeps its thread. Safe for several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: deque[Threads] = deque()

    def call(self, seconds: float, function: Callable[..., T], *arguments: Any) -> T:
        """Return the function's result.

        Raises
        ------
        TimeoutError
            If the function does not return within `seconds`. It goes on in its thread, and its result is lost.
        """
        try:
            thread = self._idle.pop()
        except IndexError:
            thread = Threads(self._name, 1)
        future = thread.submit(function, *arguments)
        try:
            return future.result(seconds)
        finally:
            if future.done():
                self._idle.append(thread)
            else:
                thread.close()

    def close(self) -> None:
        """Let the idle threads end."""
        for thread in self._idle:
            thread.close()
