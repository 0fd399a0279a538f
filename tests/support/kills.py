"""Stop a command at one of its changes of files, as a kill does."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


class KilledError(BaseException):
    pass


def killing(monkeypatch: pytest.MonkeyPatch, changes: Iterable[tuple[Any, str]]) -> Callable[[int], None]:
    """Let calls of some functions raise `KilledError` from the n-th call on; return a function that sets n.

    `changes` has each function's owner and name. With a negative n, as at first, nothing is stopped.
    """
    left = [-1]

    def guard(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def dying(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise KilledError
            left[0] -= 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, dying)

    for owner, name in changes:
        guard(owner, name)

    def set_left(number: int) -> None:
        left[0] = number

    return set_left
