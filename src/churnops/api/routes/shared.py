"""Steps that several routes take: access, computing on a body, answering in JSON."""

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request, Response

from churnops.api.body import JSON, read_body
from churnops.api.problems import Problem
from churnops.api.security import Caller
from churnops.api.service import Service
from churnops.api.work import Held, Steps

log = logging.getLogger("churnops.api")

T = TypeVar("T")


def admitted(request: Request, scope: str) -> Service:
    """Return the service, if the client may have `scope`."""
    service: Service = request.app.state.service
    request.scope["state"]["client"] = service.access.admit(request.scope, scope)
    return service


def key_of(request: Request) -> str | None:
    """Return the id of the API key that a request came with."""
    client: Caller = request.scope["state"]["client"]
    return client.key


async def computed(request: Request, service: Service, compute: Callable[[bytes], Steps[T]], held: Held) -> T:
    """Return the result of a computation on a JSON body."""
    limits = service.settings.api
    body = await read_body(request.scope, request.receive, limits.max_body_bytes, limits.timeout_seconds, held.add)
    size, steps = len(body), compute(body)
    del body  # the first step parses it, and lets go of it
    return await service.work.compute(request.receive, size, steps)


def as_json(content: Any) -> Response:
    """Return an answer of status 200."""
    return Response(json.dumps(content), media_type=JSON)


def journal_problem(error: Exception) -> Problem:
    """Return the refusal of a request that the journal did not answer; the reason goes to the log."""
    log.error("the journal fails: %s", error or "it takes too long")
    return Problem(503, "journal", "the journal does not answer", headers={"Retry-After": "1"})
