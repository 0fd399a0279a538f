"""Traces of requests: a span for each one, by OpenTelemetry's conventions for HTTP servers."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from churnops import traces
from churnops.api.guard import METHODS
from churnops.traces.recorder import Span, describe

PROBES = ("/health/live", "/health/ready", "/metrics")
"""Ends of paths without spans: programs ask them every few seconds."""


class Traced:
    """ASGI middleware that records each request as a trace, or as a part of the trace in its header `traceparent`.

    The span has the route, never the path, because a path may contain a customer's id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].endswith(PROBES):
            await self._app(scope, receive, send)
            return
        with traces.request(dict(scope["headers"])) as span:
            if span is None:
                await self._app(scope, receive, send)
                return
            status = 0

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                _describe(span, scope, status)


def _describe(span: Span, scope: Scope, status: int) -> None:
    """Name the span of an answered request, and set its attributes; `status` is 0 if it has no answer."""
    state = scope["state"]
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    attributes: dict[str, str | int] = {"http.request.method": method, "url.scheme": scope["scheme"]}
    name = "HTTP" if method == "_OTHER" else method
    if (route := state.get("route", "")).startswith("/"):  # others are unknown paths and preflights
        attributes |= {"http.route": route, "url.path": route}
        name += f" {route}"
    if status:
        attributes["http.response.status_code"] = status
    if status >= 500:
        attributes["error.type"] = state.get("problem", str(status))
    if "model_version" in state:
        attributes["churnops.model.version"] = state["model_version"]
    describe(span, name, attributes, failed=status >= 500)
