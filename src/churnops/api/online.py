"""Requests that name a customer only: the columns come from the journal, or from Feast."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.types import Receive

from churnops.api.customers import CustomerForm, NamedCustomer, Record
from churnops.api.problems import Problem, journal_problem
from churnops.api.service import Service
from churnops.errors import JournalError
from churnops.feature_store.online import FeastRow
from churnops.journal.online_rows import OnlineRow, read_online_rows
from churnops.limits import MAX_ERRORS
from churnops.wire import FieldError

NOTHING = "no columns are stored for this customer: send all columns, or store them first"

Customer = Record | NamedCustomer
"""A checked customer, or one that is named without columns."""
Stored = OnlineRow | FeastRow
"""Stored columns of a customer, with their time."""


async def stored_rows(
    service: Service, receive: Receive, customers: Sequence[Customer], *, numbered: bool = True
) -> Mapping[str, Stored]:
    """Return the stored columns of the customers that are named without columns, by id.

    A message has the number of the customer's row if it is `numbered`.

    Raises
    ------
    Problem
        404 if nothing is stored for one of them, 503 if the journal or Feast does not answer.
    """
    named = {row: customer for row, customer in enumerate(customers, 1) if isinstance(customer, NamedCustomer)}
    ids = list(dict.fromkeys(customer.id for customer in named.values()))
    stored = await _stored(service, receive, ids)
    unknown = [row for row, customer in named.items() if customer.id not in stored and not customer.record]
    if unknown:
        errors = [
            FieldError(field=named[row].field, rule="stored", message=NOTHING, row=row) for row in unknown[:MAX_ERRORS]
        ]
        if numbered:
            raise Problem(404, "unknown-customer", f"row {unknown[0]}: {NOTHING}", errors=errors)
        raise Problem(404, "unknown-customer", NOTHING)
    return stored


async def _stored(service: Service, receive: Receive, ids: Sequence[str]) -> Mapping[str, Stored]:
    if service.feast is not None:
        return await service.feast.rows(receive, ids)
    try:
        return await service.work.ask(receive, read_online_rows, service.project.engine, ids)
    except JournalError as error:
        raise journal_problem(error) from None


def columns_of(form: CustomerForm, customer: Customer, stored: Mapping[str, Stored]) -> tuple[Record, Stored | None]:
    """Return the columns of a customer, and the stored row that they come from, if they do.

    Raises
    ------
    Problem
        422 if stored columns do not fit the deployed model, which may be newer than they.
    """
    if not isinstance(customer, NamedCustomer):
        return customer, None
    row = stored.get(customer.id)
    if row is None:
        return customer.record, None
    try:
        return form.read({**form.known(row.record), customer.field: customer.id}), row
    except Problem as problem:
        detail = f"the stored columns do not fit the model: {problem.detail}: store the customer's columns again"
        raise Problem(problem.status, "stored-columns", detail, errors=problem.errors) from None


def with_times(answers: Iterable[dict[str, Any]], rows: Iterable[Stored | None]) -> None:
    """Add to each answer the time of the stored columns that it was made of."""
    for answer, row in zip(answers, rows, strict=True):
        if row is not None:
            answer["columns_at"] = row.at.isoformat().replace("+00:00", "Z")
