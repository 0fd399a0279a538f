"""Routes of call lists and contacts."""

from contextlib import closing
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import ValidationError

from churnops.alerting.deployed import list_health
from churnops.api.contacts import read_contacts
from churnops.api.items import explain_item
from churnops.api.problems import REFUSALS, Problem, documented
from churnops.api.routes.shared import admitted, as_json, caller_of, computed, journal_problem, key_of
from churnops.api.service import Service
from churnops.api.strict_json import parse_json
from churnops.api.work import Steps
from churnops.decision.list_request import ListRequest
from churnops.decision.list_text import answer, summary
from churnops.decision.newest import PARTS, bring_up_to_date
from churnops.errors import ChurnopsError, JournalError
from churnops.journal.contacts import Contact, UnknownCustomer
from churnops.model import Bundle
from churnops.wire import CallListAnswer, CallListsAnswer, CallListSummary, ContactsAnswer

router = APIRouter(tags=["call lists"])

MAX_VALUES = 2_500
"""Limit of members and elements of a request for a list: 20 columns with 100 levels each, and other fields."""

MAX_LISTED = 10_000
_GET = documented(400, 401, 403, 404, 429, 503)


@router.post(
    "/call-lists",
    operation_id="make_call_list",
    summary="Make a call list",
    response_model=CallListSummary,
    responses=documented(409, *REFUSALS),
)
async def make(request: Request) -> Response:
    """Make a list of the customers to contact, ranked by expected profit, and keep it.

    The same request on the same day gives the list that exists already. `GET /call-lists/{id}` has the customers.
    """
    service = admitted(request, "predict")
    bundle = service.model.require().bundle
    with closing(service.work.held()) as held:
        wanted = await computed(request, service, _read, held)
    try:
        made = await service.work.make_list(request.receive, _make, service, bundle, wanted, caller_of(request))
    except JournalError as error:
        raise journal_problem(error) from None
    except ChurnopsError as error:
        raise Problem(409, "call-list", str(error)) from None
    return as_json(made.model_dump(mode="json"))


@router.get(
    "/call-lists",
    operation_id="list_call_lists",
    summary="List the kept call lists",
    response_model=CallListsAnswer,
    responses=documented(400, 401, 403, 429, 503),
)
async def kept(request: Request) -> Response:
    """Return the last 100 call lists, newest first."""
    service = admitted(request, "predict")
    try:
        lists = await service.work.ask(request.receive, service.project.call_lists.newest, 100)
    except JournalError as error:
        raise journal_problem(error) from None
    return as_json(CallListsAnswer(call_lists=[summary(one) for one in lists]).model_dump(mode="json"))


@router.get(
    "/call-lists/{id}",
    operation_id="get_call_list",
    summary="Get a call list with its customers",
    response_model=CallListAnswer,
    responses=_GET,
)
async def call_list(
    request: Request,
    id: Annotated[str, PathParameter()],
    after: Annotated[str, Query(description="Place after which the customers begin. Default: 0")] = "0",
) -> Response:
    """Return a list and up to 10,000 of its customers, in the order of expected profit, with status and note."""
    service = admitted(request, "predict")
    shown = None
    if _is_number(id) and _is_number(after):
        try:
            shown = await service.work.ask(request.receive, _shown, service, int(id), int(after))
        except JournalError as error:
            raise journal_problem(error) from None
    if shown is None:
        raise Problem(404, "unknown-call-list", "no call list has this id")
    return as_json(shown.model_dump(mode="json"))


@router.post(
    "/contacts",
    operation_id="record_contacts",
    summary="Record contacts",
    response_model=ContactsAnswer,
    responses=documented(404, *REFUSALS),
)
async def contacts(request: Request) -> Response:
    """Record one contact or a list: a customer was reached, declined, was kept, or is to be called again."""
    service = admitted(request, "label")

    def read(body: bytes) -> Steps[list[Contact]]:
        return read_contacts(body, service.settings.api.max_batch_rows)

    with closing(service.work.held()) as held:
        entries = await computed(request, service, read, held)
    by, key = caller_of(request), key_of(request)
    try:
        recorded = await service.work.ask(request.receive, _record, service, entries, by, key)
    except UnknownCustomer as error:
        raise Problem(404, "unknown-customer", f"row {error.index + 1}: {error}") from None
    except JournalError as error:
        raise journal_problem(error) from None
    return as_json({"recorded": recorded})


def _read(body: bytes) -> Steps[ListRequest]:
    document = parse_json(body, MAX_VALUES)
    yield
    try:
        return ListRequest.model_validate(document)
    except ValidationError as error:
        errors = [explain_item(item, ListRequest) for item in error.errors(include_input=False, include_url=False)]
        raise Problem(422, "validation", f"{errors[0].field}: {errors[0].message}", errors=errors) from None


def _make(service: Service, bundle: Bundle, wanted: ListRequest, by: str) -> CallListSummary:
    project = service.project
    maker = project.list_maker(bundle)
    bring_up_to_date(project.engine, maker.policy, parts=PARTS)
    made, _ = maker.make(wanted, health=list_health(project, bundle), by=by)
    return summary(made)


def _shown(service: Service, id_: int, after: int) -> CallListAnswer | None:
    lists, log = service.project.call_lists, service.project.contacts
    one = lists.get(id_)
    return None if one is None else answer(one, lists.customers(id_, after, MAX_LISTED), log.of_list(id_))


def _record(service: Service, entries: list[Contact], by: str, key: str | None) -> int:
    return service.project.contacts.record(entries, by=by, key=key)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
