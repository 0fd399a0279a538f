"""What stands in front of every request: its id, its line in the log, its metrics, and the last catch."""

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from churnops.api.metrics import Metrics
from churnops.api.problems import MEDIA_TYPE, Problem

log = logging.getLogger("churnops.api")
access_log = logging.getLogger("churnops.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNKNOWN_ROUTE = "(none)"


class Guard:
    """ASGI middleware; `scope["state"]` carries `request_id` in, and `client` and `model_version` out."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        state: dict[str, Any] = {"request_id": request_id}
        scope["state"] = state
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = ((b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff"))
                message["headers"] = [*message["headers"], *extra, (b"cache-control", b"no-store")]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:
            log.exception("request %s failed", request_id)
            if status:  # part of the answer is out: only a broken connection tells the client
                raise
            problem = Problem(500, "defect", "something went wrong here; the request id finds it in the log")
            headers = [(b"content-type", MEDIA_TYPE.encode())]
            await send_named({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": problem.body(request_id)})
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
            self._metrics.request(route, scope["method"], status, seconds)
            self._write_line(scope, state, route, status, seconds)

    def _write_line(self, scope: Scope, state: dict[str, Any], route: str, status: int, seconds: float) -> None:
        """Log the route, not the path: a path may hold what a customer is called."""
        client = scope.get("client")
        fields = {
            "request_id": state["request_id"], "method": scope["method"], "route": route, "status": status,
            "milliseconds": round(seconds * 1000.0, 3), "client": state.get("client"),
            "address": client[0] if client else None, "model_version": state.get("model_version"),
        }  # fmt: skip
        access_log.info("request", extra={"fields": fields})


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record's time in UTC, its level, message and `fields`."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging() -> None:
    """Let the loggers `churnops.*` write JSON lines to standard error, unless the host set them up already."""
    root = logging.getLogger("churnops")
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        root.propagate = False
