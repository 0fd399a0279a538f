"""Common steps of routes: access, computations on a body, answers in JSON."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request, Response

from churnops.api.body import JSON, read_body
from churnops.api.problems import journal_problem as journal_problem
from churnops.api.security import Caller
from churnops.api.service import Service
from churnops.api.work import Held, Steps

T = TypeVar("T")


def admitted(request: Request, scope: str) -> Service:
    """Return the service if the client's API key has the scope `scope`."""
    service: Service = request.app.state.service
    request.scope["state"]["client"] = service.access.admit(request.scope, scope)
    return service


def key_of(request: Request) -> str | None:
    """Return the id of a request's API key."""
    client: Caller = request.scope["state"]["client"]
    return client.key


def caller_of(request: Request) -> str:
    """Return the name of a request's API key, or "development"."""
    client: Caller = request.scope["state"]["client"]
    return client.name


async def computed(request: Request, service: Service, compute: Callable[[bytes], Steps[T]], held: Held) -> T:
    """Return the result of a computation on a JSON body."""
    limits = service.settings.api
    body = await read_body(request.scope, request.receive, limits.max_body_bytes, limits.timeout_seconds, held.add)
    size, steps = len(body), compute(body)
    del body  # the first step parses and releases it
    return await service.work.compute(request.receive, size, steps)


def as_json(content: Any) -> Response:
    """Return an answer with status 200."""
    return Response(json.dumps(content), media_type=JSON)
