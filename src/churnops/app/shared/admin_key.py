"""Admission of an administrator in the dashboard: an admin key with each action, and a limit on wrong keys."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from churnops.app.shared.text import one_line
from churnops.errors import ChurnopsError
from churnops.journal.keys import ApiKey, KeyStore, verify

log = logging.getLogger("churnops.app")

SCOPE = "admin"
MAX_REASON, MAX_KEY = 500, 200


class RefusedError(ChurnopsError):
    """The action was refused and nothing changed: there is no reason, or the key is not valid or lacks the scope."""


class Attempts:
    """Wrong keys in this process, from all browsers. After `limit` in `seconds`, the next wrong key has to wait.

    Good keys are not counted and never wait, so wrong keys cannot lock out an administrator. At any rate of tries,
    a key of 256 random bits cannot be guessed. Safe for several threads.

    Examples
    --------
    >>> attempts = Attempts(limit=2, seconds=60.0)
    >>> [attempts.wrong(now=0.0), attempts.wrong(now=1.0), attempts.wrong(now=2.0), attempts.wrong(now=61.0)]
    [0.0, 0.0, 58.0, 0.0]
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def wrong(self, now: float) -> float:
        """Count a wrong key and return 0; at the limit, return the seconds to wait and do not count it."""
        with self._lock:
            while self._times and self._times[0] <= now - self._seconds:
                self._times.popleft()
            if len(self._times) >= self._limit:
                return self._times[0] + self._seconds - now
            self._times.append(now)
            return 0.0


ATTEMPTS = Attempts(limit=5, seconds=60.0)
PAUSE_SECONDS = 1.0  # after a wrong key
_pause = time.sleep


def has_admin_key(keys: KeyStore) -> bool:
    """Return whether a key with the scope admin exists."""
    return any(SCOPE in key.scopes for key in keys.active().values())


def admitted(
    token: str, keys: KeyStore, *, attempts: Attempts | None = None, now: Callable[[], float] = time.monotonic
) -> ApiKey:
    """Return the active admin key of a token, checked as the API does.

    Keys are read anew each time, so a revoked key is refused at once. `attempts` counts wrong keys; by default it is
    the counter of this process.

    Raises
    ------
    RefusedError
        If the token belongs to no admin key. The message does not repeat the token.
    """
    key = verify(token, keys.active()) if 0 < len(token) <= MAX_KEY else None
    if key is not None and SCOPE in key.scopes:
        return key
    wait = (attempts or ATTEMPTS).wrong(now())
    if wait > 0.0:
        raise RefusedError(f"the key is not valid, and too many wrong keys were tried: wait {int(wait) + 1} seconds")
    _pause(PAUSE_SECONDS)
    if key is None:
        log.warning("an action in the dashboard was refused: the key is not valid")
        raise RefusedError("the key is not valid: nothing has changed")
    log.warning("an action in the dashboard was refused: the key %r lacks the scope admin", key.name)
    raise RefusedError(f"the key '{key.name}' lacks the scope admin: nothing has changed")


def approved(keys: KeyStore, reason: str, token: str, person: str | None) -> tuple[str, str]:
    """Check the reason and the admin key of an action.

    Parameters
    ----------
    person
        User who is logged in.

    Returns
    -------
    reason
        The reason in one line.
    owner
        The key's name and the person, for the history.

    Raises
    ------
    RefusedError
        If there is no reason, or the key is refused.
    """
    reason = one_line(reason, MAX_REASON)
    if not reason:
        raise RefusedError("give a reason for the history")
    key = admitted(token.strip(), keys)
    return reason, f"key '{key.name}'" + (f", {one_line(person, 100)}" if person else "")
