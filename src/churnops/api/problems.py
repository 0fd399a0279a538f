"""Errors in the problem form of RFC 9457: what is wrong, which field, which rule; never what was sent."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20


class FieldError(BaseModel):
    """One rule that one field breaks; in a list of customers, `row` counts from 1."""

    field: str | None
    rule: str
    message: str
    row: int | None = None


class ProblemBody(BaseModel):
    """An error as RFC 9457 writes it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] | None = None


class Problem(Exception):  # noqa: N818  (the RFC's word)
    """A request that is not answered, and why; `slug` names the kind of problem, `headers` go with the response."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail = status, slug, detail
        self.errors, self.headers = errors[:MAX_ERRORS], headers

    def body(self, request_id: str) -> bytes:
        """Return the document that the client gets."""
        document: dict[str, Any] = {
            "type": f"urn:churnops:problem:{self.slug}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [error.model_dump(exclude_none=True) for error in self.errors]
        return json.dumps(document).encode()


def problem_response(request: Request, error: Exception) -> Response:
    """Answer with a problem: for `Problem` and for what the framework raises (no such path, no such method)."""
    if isinstance(error, HTTPException):
        slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        detail = {404: "there is nothing at this path", 405: "this path does not take that method"}
        error = Problem(error.status_code, slug, detail.get(error.status_code, slug), headers=error.headers)
    assert isinstance(error, Problem)
    body = error.body(request.scope["state"]["request_id"])
    return Response(body, error.status, dict(error.headers or {}), MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the entries of the OpenAPI document for errors with these statuses."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted(statuses)
    }
