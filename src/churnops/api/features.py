"""Columns of customers in requests, packed for the journal."""

from datetime import UTC, datetime

from churnops.api.problems import Problem
from churnops.api.served import Served
from churnops.api.work import STEP_ROWS, Steps
from churnops.errors import DataError
from churnops.journal.online_rows import NewRow, check_storable
from churnops.journal.tables import microseconds
from churnops.limits import MAX_ERRORS
from churnops.wire import FieldError


def read_rows(served: Served, body: bytes, max_rows: int) -> Steps[list[NewRow]]:
    """Read the columns of customers from a JSON list, in steps.

    Raises
    ------
    Problem
        422 if a customer is invalid or has no id, or if the model reads a personal column.
    """
    schema, identifier = served.bundle.schema, served.form.identifier
    try:
        check_storable(schema)
    except DataError as error:
        raise Problem(422, "personal", str(error)) from None
    records = yield from served.form.read_list(body, max_rows)
    nameless = [row for row, record in enumerate(records, 1) if not record.get(identifier or "")]
    if nameless:
        message = f"{identifier or 'an id'} is needed: columns are stored for a customer"
        errors = [
            FieldError(field=identifier, rule="required", message=message, row=row) for row in nameless[:MAX_ERRORS]
        ]
        raise Problem(422, "validation", f"row {nameless[0]}: {message}", errors=errors)
    now, rows = datetime.now(UTC), []
    for place, record in enumerate(records):
        time = record.get(schema.time.name) if schema.time else None
        at = microseconds(_in_utc(datetime.fromisoformat(time)) if time else now)
        left_out = {identifier, *schema.personal}
        packed = served.layout.pack({name: value for name, value in record.items() if name not in left_out})
        rows.append(NewRow(record[identifier or ""], at, packed.inputs, packed.rest))
        if place % STEP_ROWS == 0:
            yield
    return rows


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
