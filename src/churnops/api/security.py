"""Who may ask, and how often: API keys with scopes, and a rate limit for each key."""

import ipaddress
import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from starlette.types import Scope

from churnops.api.body import header
from churnops.api.problems import Problem
from churnops.journal.keys import ApiKey, KeyStore, verify

log = logging.getLogger("churnops.api")


class Client(NamedTuple):
    """Who sent a request: name and id of an API key."""

    name: str
    key: str | None


DEVELOPMENT = Client("development", None)
"""The client, where no key is needed."""


class RateLimit:
    """Token buckets: each client may ask `rate` times a second, and `rate` times at once after a pause.

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
        """Take one token and return 0, or return the seconds until there is one."""
        tokens, since = self._buckets.get(client, (self._capacity, now))
        tokens = min(self._capacity, tokens + (now - since) * self.rate)
        if tokens < 1.0:
            return (1.0 - tokens) / self.rate
        self._buckets[client] = (tokens - 1.0, now)
        return 0.0


class Access:
    """Decides on every request. Keys are read from the database every few seconds, not for each request."""

    def __init__(self, keys: KeyStore, rate: float) -> None:
        self._keys = keys
        self._limit = RateLimit(rate)
        self._active: Mapping[str, ApiKey] = {}
        self.required = True

    def refresh(self) -> None:
        """Read the keys. Once there was a key, one is needed, even if all are revoked now."""
        self._active = self._keys.active()
        required = bool(self._active) or bool(self._keys.list())
        if self.required and not required:
            log.warning(
                "THERE IS NO API KEY: every program on this machine may ask for predictions, send labels and reload "
                "the model; requests from elsewhere are refused. For anything but development: churnops keys add"
            )
        self.required = required

    def admit(self, scope: Scope, needed: str) -> Client:
        """Return the client who sent this request, if it may have `needed`.

        Raises
        ------
        Problem
            401 without a valid key, 403 if the key has not the scope, 429 if the client asks too often.
        """
        token = header(scope, b"x-api-key")
        if token:
            key = verify(token, self._active)
            if key is None:
                raise _unauthorized("the API key is not valid")
            if needed not in key.scopes:
                raise Problem(403, "scope", f"the API key has not the scope '{needed}'")
            client = Client(key.name, key.id)
        elif self.required or not _local(scope):
            raise _unauthorized("an API key is needed in the header X-API-Key")
        else:
            client = DEVELOPMENT
        wait = self._limit.wait(client.name, time.monotonic())
        if wait > 0.0:
            detail = f"more than {self._limit.rate:g} requests a second"
            raise Problem(429, "rate-limit", detail, headers={"Retry-After": str(int(wait) + 1)})
        return client


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "api-key", detail, headers={"WWW-Authenticate": "ApiKey"})


def _local(scope: Scope) -> bool:
    """Whether a request comes from this machine, and was meant for it.

    A page elsewhere may be given our address under its own name, or let the browser post a form to us.
    """
    client, origin = scope.get("client"), header(scope, b"origin")
    return (
        client is not None
        and is_loopback(client[0])
        and is_loopback(_host(header(scope, b"host")))
        and (not origin or is_loopback(_host(origin.partition("://")[2])))
    )


def _host(authority: str) -> str:
    return (authority.rpartition(":")[0] or authority).strip("[]")


@lru_cache(maxsize=1000)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.com")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
