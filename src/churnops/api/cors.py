"""Requests from web pages of other origins (CORS), for the origins of `api.cors_origins`."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from churnops.api.guard import Guard
from churnops.api.metrics import Metrics
from churnops.api.problems import Problem
from churnops.api.released import REPLACED

ROUTE = "(preflight)"
SENT = ("X-API-Key", "Authorization", "Content-Type", "X-Request-ID")
READ = ("X-Request-ID", "Retry-After", REPLACED)


class CrossOrigin:
    """ASGI middleware: browsers let pages of the allowed origins send requests and read answers, also errors.

    Cookies are not used, so a page needs an API key like any other client.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, origins: Collection[str]) -> None:
        self._answers = CORSMiddleware(
            app, allow_origins=origins, allow_methods=("GET", "POST"), allow_headers=SENT, expose_headers=READ
        )
        self._preflights = Guard(self._preflight, metrics, route=ROUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (self._preflights if _is_preflight(scope) else self._answers)(scope, receive, send)

    async def _preflight(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser's question whether a page may send a request."""
        response = self._answers.preflight_response(Headers(scope=scope))
        if response.status_code != 200:
            raise Problem(403, "cors", "api.cors_origins or the API does not allow this origin, method or header")
        await response(scope, receive, send)


def _is_preflight(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
