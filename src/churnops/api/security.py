"""Access: API keys with scopes, and a rate limit for each key."""

import logging
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

from starlette.types import Scope

from churnops.api.body import header
from churnops.api.local import is_local, listens_elsewhere
from churnops.api.problems import Problem
from churnops.errors import JournalError
from churnops.journal.keys import ApiKey, KeyStore, verify

log = logging.getLogger("churnops.api")

MAKE_KEY = "make a key with `churnops keys add NAME --scope predict`"


class Caller(NamedTuple):
    """Sender of a request: name and id of an API key."""

    name: str
    key: str | None


DEVELOPMENT = Caller("development", None)
"""Sender of a request that needs no key."""


class RateLimit:
    """Token buckets: a client may send `rate` requests a second, and after a pause `rate` (at least one) at once.

    Examples
    --------
    >>> limit = RateLimit(2.0)
    >>> [limit.wait("a", now=10.0), limit.wait("a", now=10.0), limit.wait("a", now=10.0), limit.wait("b", now=10.0)]
    [0.0, 0.0, 0.5, 0.0]
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._capacity = max(1.0, rate)
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, client: str, now: float) -> float:
        """Take a token and return 0, or return the seconds until the next token."""
        tokens, since = self._buckets.get(client, (self._capacity, now))
        tokens = min(self._capacity, tokens + (now - since) * self.rate)
        if tokens < 1.0:
            return (1.0 - tokens) / self.rate
        self._buckets[client] = (tokens - 1.0, now)
        return 0.0


class Access:
    """Access control. Keys are read from the database every few seconds, not for each request.

    Parameters
    ----------
    rate : float
        Limit of requests a second for each client.
    rule : {"auto", "always"}
        When a key is needed. "auto": if a key was ever made, if other machines can reach the service, or if the
        request is not local (see `is_local`). There is no "never": if the service became reachable later, it would be
        open to all.
    """

    def __init__(self, keys: KeyStore, rate: float, rule: Literal["auto", "always"] = "auto") -> None:
        self._keys = keys
        self._limit = RateLimit(rate)
        self._rule = rule
        self._active: Mapping[str, ApiKey] = {}
        self._listens_elsewhere: bool | None = None  # determined at the first request, when the sockets exist
        self._made = False
        self._rule_shown = ""
        self._shown: set[str] = set()
        self.required = True

    def refresh(self) -> None:
        """Read the keys. Once a key was made, requests need one, even if all are revoked or the journal is lost."""
        if self._made:
            self._record()  # before reading, which may fail: if the journal is lost, the next start needs the record
        self._active = self._keys.active()
        # `_made` stays true: if the journal loses its keys, the running service must still require one.
        made = self._made = self._made or self._keys.were_made()
        self.required = self._rule == "always" or made
        self._show(self._in_force(made))
        if made:
            self._record()

    def _record(self) -> None:
        try:
            self._keys.record(made=True)
        except JournalError as error:
            self._warn(str(error))

    def _in_force(self, made: bool) -> str:
        """Return in one line whether requests need an API key, and why; `made`: whether a key was ever made."""
        if self._active:
            return f"every request needs an API key (valid keys: {len(self._active)})"
        if made:
            return (
                "every request needs an API key because keys were made, but the journal has no valid key: restore the "
                f"journal if it was lost, or {MAKE_KEY}"
            )
        if self._rule == "always":
            return f"every request needs an API key (api.require_key: always), but none exists: {MAKE_KEY}"
        return (
            "THERE IS NO API KEY: every program on this machine may ask for predictions, send labels and reload "
            f"the model; other requests are refused. Unless this is development, {MAKE_KEY}"
        )

    def _warn(self, line: str) -> None:
        """Log a line once."""
        if line not in self._shown:
            self._shown.add(line)
            log.warning(line)

    def _show(self, rule: str) -> None:
        """Log the line of `_in_force` when it changes."""
        if rule != self._rule_shown:
            self._rule_shown = rule
            log.log(logging.INFO if self._active else logging.WARNING, rule)

    def admit(self, scope: Scope, needed: str) -> Caller:
        """Return the sender of a request if it has the scope `needed`.

        Raises
        ------
        Problem
            400 for two keys, 401 without a valid key, 403 if the key lacks the scope, 429 above the rate limit.
        """
        token = _token(scope)
        if token:
            key = verify(token, self._active)
            if key is None:
                raise _unauthorized("the API key is not valid")
            if needed not in key.scopes:
                raise Problem(403, "scope", f"the API key lacks the scope '{needed}'")
            client = Caller(key.name, key.id)
        elif self.required or not is_local(scope) or self._reachable():
            raise _unauthorized("an API key is needed in the header X-API-Key, or as a bearer token")
        else:
            client = DEVELOPMENT
        wait = self._limit.wait(client.name, time.monotonic())
        if wait > 0.0:
            detail = f"more than {self._limit.rate:g} requests a second"
            raise Problem(429, "rate-limit", detail, headers={"Retry-After": str(int(wait) + 1)})
        return client

    def _reachable(self) -> bool:
        if self._listens_elsewhere is None:
            self._listens_elsewhere = listens_elsewhere()
            if self._listens_elsewhere:
                self._warn(f"other machines can reach the service, so every request needs an API key: {MAKE_KEY}")
        return self._listens_elsewhere


def _token(scope: Scope) -> str:
    """Return a request's API key, empty without one."""
    token = header(scope, b"x-api-key")
    if b"authorization" not in scope["state"]["headers"]:
        return token
    scheme, _, bearer = header(scope, b"authorization").partition(" ")
    if scheme.lower() != "bearer":  # another scheme belongs to a proxy in front of the service
        return token
    if b"x-api-key" in scope["state"]["headers"]:
        raise Problem(400, "two-keys", "send one API key: in the header X-API-Key, or as a bearer token")
    return bearer.strip() or " "


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "api-key", detail, headers={"WWW-Authenticate": "ApiKey, Bearer"})
