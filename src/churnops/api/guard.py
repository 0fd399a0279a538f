"""Middleware for every request: an id, a line in the log, metrics, and an answer for each error."""

import asyncio
import contextlib
import itertools
import json
import logging
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPMethod
from typing import Any

from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from churnops.api.body import header, is_left_unread
from churnops.api.metrics import Metrics
from churnops.api.problems import MEDIA_TYPE, Problem
from churnops.traces import trace_id

log = logging.getLogger("churnops.api")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNKNOWN_ROUTE, UNKNOWN_METHOD = "(none)", "(other)"
METHODS = frozenset(HTTPMethod)  # an invented method must not create a time series
ONCE = frozenset(
    b"x-api-key authorization host origin content-length content-type content-encoding transfer-encoding".split()
)
"""Headers that a request may contain only once, because they decide on access and on the body."""
ONCE_NAMES = ", ".join(sorted(name.decode() for name in ONCE))
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
# A request's id is a random part of this process and a counter: random bytes for each request would take longer.
_PROCESS = secrets.token_hex(4)
_numbers = itertools.count()


class _Answering:
    """Answer to one request; `status` is 0 until its head is sent."""

    __slots__ = ("_request_id", "_scope", "_send", "status")

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send a part of the answer; the head gets the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id.encode()), *_HEADERS]
            if is_left_unread(self._scope):  # otherwise the server would read the rest, however long it takes
                message["headers"].append((b"connection", b"close"))
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem."""
        self._scope["state"]["problem"] = problem.slug
        headers = [(b"content-type", MEDIA_TYPE.encode()), *problem.raw_headers]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": problem.body(self._request_id)})


class Guard:
    """ASGI middleware that gives each request an id, answers problems, logs a line and counts requests.

    `scope["state"]` passes `request_id` to the application, which adds `client` and `model_version`. At the end it has
    the `route`, and a refusal's `problem`. `route` is the route for the log and the metrics, unless the framework adds
    a route to the scope.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, route: str = UNKNOWN_ROUTE) -> None:
        self._app = app
        self._metrics = metrics
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever fails."""
        if scope["type"] == "websocket":  # the server accepts websockets if a package for them is installed
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state: dict[str, Any] = {"headers": dict(scope["headers"])}
        scope["state"] = state
        given = header(scope, b"x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else f"{_PROCESS}{next(_numbers):08x}"
        state["request_id"] = request_id
        answer = _Answering(scope, send, request_id)
        try:
            if len(state["headers"]) < len(scope["headers"]):
                _refuse_repeated(scope)
            await self._app(scope, receive, answer.send)
        except Problem as problem:
            if answer.status:  # the head is sent: only a broken connection shows the error
                raise
            await answer.refuse(problem)
        except asyncio.CancelledError:  # the service stops before this request is answered
            if not answer.status:
                await answer.refuse(Problem(503, "stopping", "the service is stopping", headers={"Retry-After": "1"}))
            raise
        except Exception:
            log.exception("request %s failed", request_id)
            if answer.status:
                raise
            await answer.refuse(Problem(500, "defect", "internal error: search the log for the request id"))
        finally:
            seconds = time.perf_counter() - started
            route = state["route"] = getattr(scope.get("route"), "path", self._route)
            method = scope["method"] if scope["method"] in METHODS else UNKNOWN_METHOD
            self._metrics.request(route, method, answer.status, seconds)
            _write_line(scope, state, route, answer.status, seconds)


def _refuse_repeated(scope: Scope) -> None:
    """Refuse a request that repeats a header of `ONCE`: a proxy may have checked only one of the two values."""
    names = [name for name, _ in scope["headers"] if name in ONCE]
    if len(names) > len(set(names)):
        raise Problem(400, "repeated-header", f"one of these headers is repeated: {ONCE_NAMES}; send it once")


def _write_line(scope: Scope, state: dict[str, Any], route: str, status: int, seconds: float) -> None:
    """Write a request's line to standard error.

    The logging package, or a JSON encoder, would take several times as long. The line has the route, not the path,
    because a path may contain a customer's id.
    """
    address, trace = scope.get("client"), trace_id()
    second, millisecond = divmod(time.time_ns() // 1_000_000, 1000)
    line = (
        f'{{"time":"{_time(second)}.{millisecond:03}+00:00","level":"info","message":"request",'
        f'"request_id":"{state["request_id"]}","method":{_json(scope["method"])},"route":{_json(route)},'
        f'"status":{status},"milliseconds":{round(seconds * 1000.0, 3)},'
        f'"client":{_json(state["client"].name if "client" in state else None)},'
        f'"address":{_json(address[0] if address else None)},"model_version":{_json(state.get("model_version"))}'
        + (f',"trace_id":"{trace}"}}\n' if trace else "}\n")
    )
    with contextlib.suppress(OSError, ValueError):  # the request is answered even if the log cannot be written
        sys.stderr.write(line)


@lru_cache(maxsize=2)
def _time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1000)
def _json(text: str | None) -> str:
    return to_json(text).decode()


class JsonLines(logging.Formatter):
    """Formatter of log records as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's time in UTC, its level and message as JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if trace := trace_id():
            line["trace_id"] = trace
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging() -> None:
    """Let the loggers `churnops.*` write JSON lines to standard error, unless they have handlers already."""
    root = logging.getLogger("churnops")
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        root.propagate = False
