"""Going back to an older model from the dashboard: to which, who may, and how often somebody may try a key."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from churnops.app.models.history import clock, model_name
from churnops.app.shared.text import one_line
from churnops.errors import ChurnopsError
from churnops.journal.deployment_log import InProduction
from churnops.journal.keys import ApiKey, KeyStore, verify
from churnops.settings import Settings

log = logging.getLogger("churnops.app")

SCOPE = "admin"
MAX_REASON, MAX_KEY = 500, 200


class RefusedError(ChurnopsError):
    """Nothing was changed: something is missing, or the key may not do this."""


@dataclass(frozen=True)
class Target:
    """A version that may be gone back to: one that was in production, and whose folder is still there."""

    version: int
    model: str
    last: datetime

    @property
    def label(self) -> str:
        """What a person chooses by, as plain text."""
        return one_line(f"Version {self.version}: {self.model}, last in production {clock(self.last)} UTC", 120)


class Attempts:
    """Wrong keys in this process, of all browsers together: after `most` of them in `seconds`, later ones must wait.

    Good keys are not counted and never wait, so that nobody can lock out an administrator with wrong ones. A key of 256
    random bits is not guessed at any rate. Safe for several threads.

    Examples
    --------
    >>> attempts = Attempts(most=2, seconds=60.0)
    >>> [attempts.wrong(now=0.0), attempts.wrong(now=1.0), attempts.wrong(now=2.0), attempts.wrong(now=61.0)]
    [0.0, 0.0, 58.0, 0.0]
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def wrong(self, now: float) -> float:
        """Count a wrong key and return 0, or return the seconds to wait."""
        with self._lock:
            while self._times and self._times[0] <= now - self._seconds:
                self._times.popleft()
            if len(self._times) >= self._most:
                return self._times[0] + self._seconds - now
            self._times.append(now)
            return 0.0


ATTEMPTS = Attempts(most=5, seconds=60.0)
PAUSE_SECONDS = 1.0  # after a wrong key
_pause = time.sleep


def has_admin_key(keys: KeyStore) -> bool:
    """Whether there is a key that may go back."""
    return any(SCOPE in key.scopes for key in keys.active().values())


def targets(spells: Sequence[InProduction], current: str | None, kept: Collection[str]) -> list[Target]:
    """Return what can be gone back to, first what answered last.

    Parameters
    ----------
    spells
        Oldest first.
    current
        Folder that answers now: its version is none of them.
    kept
        Names of the folders that are still there.
    """
    answering = {spell.deployment.version for spell in spells if spell.deployment.folder == current}
    found: dict[int, Target] = {}
    for spell in reversed(spells):
        d = spell.deployment
        if d.version not in answering and d.version not in found and d.folder in kept:
            found[d.version] = Target(d.version, model_name(d), spell.until or d.at)
    return list(found.values())


def admitted(
    token: str, keys: KeyStore, *, attempts: Attempts | None = None, now: Callable[[], float] = time.monotonic
) -> ApiKey:
    """Return the active admin key that a token is, checked as the API checks it.

    Keys are read anew each time: a revoked one is refused at once. `attempts` are those of the process by default.

    Raises
    ------
    RefusedError
        If it is another. It does not repeat the token.
    """
    key = verify(token, keys.active()) if 0 < len(token) <= MAX_KEY else None
    if key is not None and SCOPE in key.scopes:
        return key
    wait = (attempts or ATTEMPTS).wrong(now())
    if wait > 0.0:
        raise RefusedError(f"the key is not valid, and too many wrong ones were tried: wait {int(wait) + 1} seconds")
    _pause(PAUSE_SECONDS)
    if key is None:
        log.warning("a rollback in the dashboard was refused: the key is not valid")
        raise RefusedError("the key is not valid: nothing has changed")
    log.warning("a rollback in the dashboard was refused: the key %r has not the scope admin", key.name)
    raise RefusedError(f"the key '{key.name}' has not the scope admin: nothing has changed")


def go_back(settings: Settings, keys: KeyStore, *, to: int, reason: str, token: str, person: str | None = None) -> str:
    """Make an older version the one that answers; return what happened in a sentence.

    Parameters
    ----------
    token
        An admin key's.
    person
        Who is logged in, for the history.

    Raises
    ------
    RefusedError
        If there is no reason, or the key may not do this. Nothing has changed.
    ChurnopsError
        If there is no way back, or the older model is damaged. Nothing has changed.
    """
    reason = one_line(reason, MAX_REASON)
    if not reason:
        raise RefusedError("give a reason, for whoever reads the history: nothing has changed")
    key = admitted(token.strip(), keys)
    from churnops.pipelines.rollback import roll_back

    who = f"key '{key.name}'" + (f", {one_line(person, 100)}" if person else "")
    done = roll_back(settings, to, f"{reason} (in the dashboard: {who})")
    log.warning("version %d answers again, by the dashboard, %s", done.version, who)
    said = f"Version {done.version} ({done.model_version}) answers again."
    return f"{said} Still to be done: {done.warning}" if done.warning else said
