"""Errors as problem documents (RFC 9457), with field and rule, but without the values in the request."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Self

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from churnops.limits import MAX_ERRORS
from churnops.wire import PROBLEM, FieldError

log = logging.getLogger("churnops.api")

MEDIA_TYPE = "application/problem+json"
MAX_LENGTH = 400  # limit of a message, which may quote column names of an uploaded file
REFUSALS = (400, 401, 403, 408, 413, 415, 422, 429, 503)
"""Statuses of the errors that predictions, probes and labels have in common."""


class Problem(Exception):  # noqa: N818  (the RFC's word)
    """Error that is the answer to a request; `slug` names its kind, `headers` are added to the answer."""

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
        self.status = status
        self.slug = slug
        self.detail = _shortened(detail)
        self.errors = errors[:MAX_ERRORS]
        self.headers = headers

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers in ASGI's form."""
        return [(name.lower().encode(), value.encode()) for name, value in (self.headers or {}).items()]

    def in_row(self, row: int) -> Self:
        """Return the problem with a row, counted from 1."""
        errors = [error.model_copy(update={"row": row}) for error in self.errors]
        return type(self)(self.status, self.slug, f"row {row}: {self.detail}", errors=errors, headers=self.headers)

    def body(self, request_id: str) -> bytes:
        """Return the problem document as JSON."""
        document: dict[str, Any] = {
            "type": f"{PROBLEM}{self.slug}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [
                error.model_dump(exclude_none=True) | {"message": _shortened(error.message)} for error in self.errors
            ]
        return json.dumps(document).encode()


def journal_problem(error: Exception) -> Problem:
    """Return the problem of a journal that does not answer; the reason is logged."""
    log.error("the journal fails: %s", error or "it does not answer in time")
    return Problem(503, "journal", "the journal does not answer", headers={"Retry-After": "1"})


def _shortened(text: str) -> str:
    half = MAX_LENGTH // 2
    return text if len(text) <= MAX_LENGTH else f"{text[:half]} … {text[-half:]}"


async def raise_problem(_request: Request, error: Exception) -> Response:
    """Turn an error of the framework (unknown path or method) into a problem."""
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = {404: "this path does not exist: see /docs", 405: "this path does not accept the method"}
    slug = title.lower().replace(" ", "-")
    raise Problem(error.status_code, slug, detail.get(error.status_code, title), headers=error.headers) from None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI document's entries for errors with these statuses."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted(statuses)
    }
