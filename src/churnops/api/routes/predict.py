"""Routes of predictions for lists and files of customers, and of probes; `churnops.api.predict` has `/predict`."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response

from churnops.api.body import JSON, media_type
from churnops.api.customers import NamedCustomer
from churnops.api.documents import MAX_PROBES
from churnops.api.live import given_columns
from churnops.api.online import Customer, Stored, columns_of, stored_rows, with_times
from churnops.api.predictions import answer, of_model, unknown_levels
from churnops.api.problems import REFUSALS, Problem, documented
from churnops.api.released import Released, in_pieces
from churnops.api.routes.shared import admitted, as_json, computed, key_of
from churnops.api.served import Served
from churnops.api.service import Service
from churnops.api.uploads.formats import FORMATS, wrong_media_type
from churnops.api.work import LARGE_BYTES, LOOP_BYTES, STEP_ROWS, Held, Steps
from churnops.journal.predictions import PredictionRow
from churnops.schema import WARNINGS, Columns

router = APIRouter(tags=["predictions"])

_WARNINGS = {
    "name": "warnings",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": "Whether the answer to a CSV or Parquet file has the column prediction_warnings: contradictions "
    "between the customer's fields, in a CSV as a JSON list. Other answers have warnings in any case.",
}
_ACCEPT_UNKNOWN = {
    "name": "accept_unknown",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": "Whether a file is scored although many levels of a category are unknown.",
}
_ACCEPT_MISSING = {
    "name": "accept_missing",
    "in": "query",
    "required": False,
    "schema": {"type": "array", "items": {"type": "string"}, "default": []},
    "description": "Nullable columns that a file may lack.",
}


@router.post(
    "/predict/batch",
    operation_id="predict_batch",
    summary="Predict many customers",
    responses=documented(404, *REFUSALS),
    openapi_extra={"parameters": [_WARNINGS, _ACCEPT_UNKNOWN, _ACCEPT_MISSING]},
)
async def predict_batch(request: Request) -> Response:
    """Score and explain many customers: a JSON list, or a CSV, NDJSON or Parquet file as the body.

    The answer to a list is a list in the same order. The answer to a file is a stream in the same format, with the
    columns of the answer added. Columns of these names in the file, for example from an earlier scoring, are replaced;
    the header X-Replaced-Columns names them. A file is checked as a whole before the first row is answered. A list may
    name customers by nothing but their ids, if their columns were stored.
    """
    service = admitted(request, "predict")
    kind = media_type(request.scope)
    served = service.model.require()
    request.scope["state"]["model_version"] = served.version
    limits, warnings = service.settings.api, _wants_warnings(request, served)
    if kind in FORMATS:
        return await service.uploads.answer(request, FORMATS[kind], served, warnings=warnings)
    if kind != JSON:
        raise wrong_media_type(kind)
    with ExitStack() as stack:
        held = stack.enter_context(closing(service.work.held()))
        scored = await _scored_list(request, service, served, held)
        await service.recorder.record([row for part in scored for row in part.rows])
        for part in scored:
            service.recorder.count_unknown(part.unknown)
        if service.live is not None:
            for part in scored:
                own = of_model(served, part.rows)
                service.live.add(served, part.columns, [part.rows[place].churn_probability for place in own])
        content = b"[" + b", ".join(part.content for part in scored) + b"]"
        if len(content) <= LARGE_BYTES:
            return Response(content, media_type=JSON)
        held.exchange(len(content))
        length = {"Content-Length": str(len(content))}
        return Released(in_pieces(content), stack.pop_all().close, JSON, limits.timeout_seconds, length)


def _wants_warnings(request: Request, served: Served) -> bool:
    given = request.query_params.getlist("warnings")
    if not set(given) <= {"true", "false"}:
        raise Problem(422, "validation", "the parameter warnings must be true or false")
    if "true" in given and WARNINGS not in served.bundle.schema.added:
        raise Problem(422, "validation", f"the model's table has a column {WARNINGS}: leave out the parameter warnings")
    return "true" in given


@router.post(
    "/predict/probe",
    operation_id="predict_probe",
    summary="Predict invented customers, unrecorded",
    responses=documented(*REFUSALS),
)
async def predict_probe(request: Request) -> Response:
    """Score and explain a few invented customers as `/predict/batch` does, without recording them.

    Use it to check the deployed model, for example after a deployment. Journal, live drift and the counts of
    predictions stay as they are.
    """
    service = admitted(request, "admin")
    served = service.model.require()
    request.scope["state"]["model_version"] = served.version

    def compute(body: bytes) -> Steps[list[dict[str, Any]]]:
        answers, _ = answer(served, (yield from served.form.read_list(body, MAX_PROBES)), None)
        return [{name: value for name, value in item.items() if name != "prediction_id"} for item in answers]

    with closing(service.work.held()) as held:
        return as_json(await computed(request, service, compute, held))


class _Scored(NamedTuple):
    """Part of a list: answers as JSON, rows for the journal, and numbers of unknown levels.

    `columns` are the encoded customers whom the deployed model answered.
    """

    content: bytes
    rows: list[PredictionRow]
    columns: Columns
    unknown: Mapping[str, int]


async def _scored_list(request: Request, service: Service, served: Served, held: Held) -> list[_Scored]:
    """Score and explain a list; customers that are named without columns get the stored ones."""
    read = partial(_scored_or_named, service, served, key_of(request))
    scored, requests = await computed(request, service, read, held)
    if not requests:
        return scored
    stored = await stored_rows(service, request.receive, requests)
    steps = _scored(service, served, key_of(request), requests, stored)
    # In a thread, as rows are unpacked; a long list as a large body, because it takes as much memory.
    size = LARGE_BYTES if len(requests) > STEP_ROWS else LOOP_BYTES
    return await service.work.compute(request.receive, size + 1, steps)


def _scored_or_named(
    service: Service, served: Served, key: str | None, body: bytes
) -> Steps[tuple[list[_Scored], list[Customer]]]:
    """Read and score a list of customers in steps; if one of them has no columns, return the list instead."""
    requests = yield from served.form.read_requests(body, service.settings.api.max_batch_rows)
    del body
    if any(isinstance(customer, NamedCustomer) for customer in requests):
        return [], requests
    return (yield from _scored(service, served, key, requests, {})), []


def _scored(
    service: Service, served: Served, key: str | None, requests: Sequence[Customer], stored: Mapping[str, Stored]
) -> Steps[list[_Scored]]:
    """Score and explain customers in steps."""
    scored = []
    for start in range(0, len(requests), STEP_ROWS):
        yield
        taken = [columns_of(served.form, customer, stored) for customer in requests[start : start + STEP_ROWS]]
        part = [record for record, _ in taken]
        answers, rows = service.split.answer(served, part, key)
        with_times(answers, (row for _, row in taken))
        columns = given_columns(served, [part[place] for place in of_model(served, rows)]) if service.live else {}
        scored.append(_Scored(json.dumps(answers)[1:-1].encode(), rows, columns, unknown_levels(answers)))
    return scored
