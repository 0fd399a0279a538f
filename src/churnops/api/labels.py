"""Labels in requests: outcomes that arrive later, by prediction or by customer."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from churnops.api.problems import Problem
from churnops.api.strict_json import parse_json, parse_list
from churnops.api.work import STEP_ROWS, Steps
from churnops.journal.labels import Label
from churnops.limits import MAX_ERRORS
from churnops.schema import ID_PATTERN, MAX_ID_LENGTH, nearest
from churnops.wire import FieldError

FUTURE = timedelta(days=1)  # tolerance, as clocks differ


def _time(value: Any) -> Any:
    """Convert an ISO 8601 time to UTC; a time without an offset is taken as UTC."""
    if value is None:
        return None
    if type(value) is not str or len(value) > 40:
        raise ValueError("must be an ISO 8601 time")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be an ISO 8601 time") from None
    try:
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("is before the year 1 or after the year 9999 in UTC") from None
    if time > datetime.now(UTC) + FUTURE:
        raise ValueError("is in the future: check the sender's clock")
    if time.year < 1970:
        raise ValueError("is before 1970")
    return time


def _given(name: str) -> dict[str, Any]:
    """Return the JSON Schema of objects in which a field is a text."""
    return {"required": [name], "properties": {name: {"type": "string"}}}


class LabelBody(BaseModel):
    """One outcome, with either `prediction_id` or `customer_id`. Sending it again changes nothing."""

    model_config = ConfigDict(
        extra="forbid",
        title="Label",
        # Exactly one of the two. With `oneOf`, generated clients would have two models without the common fields.
        json_schema_extra={
            "if": _given("prediction_id"),
            "then": {"not": _given("customer_id")},
            "else": _given("customer_id"),
        },
    )

    churned: Annotated[bool, Strict(), Field(description="true: the customer left; false: the customer stayed")]
    prediction_id: Annotated[str, Strict(), Field(max_length=64, pattern=ID_PATTERN)] | None = None
    customer_id: Annotated[str, Strict(), Field(max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)] | None = None
    outcome_at: Annotated[
        datetime | None,
        BeforeValidator(_time),
        WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
    ] = Field(None, description="Time when the customer left or was last known to be a customer. Default: now")

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.prediction_id is None) == (self.customer_id is None):
            raise ValueError("exactly one of prediction_id and customer_id is needed")
        return self


MAX_VALUES = 2 * len(LabelBody.model_fields)
"""Largest number of members and elements in one label's JSON, at all depths together."""


def read_labels(body: bytes, max_labels: int) -> Steps[list[Label]]:
    """Read outcomes from a JSON body in steps: one, or a list of at most `max_labels`.

    Raises
    ------
    Problem
        400, 413 or 422. A 422 names row, field and rule of the first 20 errors.
    """
    is_list = body.lstrip()[:1] == b"["
    documents = parse_list(body, max_labels, MAX_VALUES) if is_list else [parse_json(body, MAX_VALUES)]
    labels: list[Label] = []
    errors: list[FieldError] = []
    for row, document in enumerate(documents, 1):
        try:
            label = LabelBody.model_validate(document)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            errors += [_explain(item, row) for item in problems[: MAX_ERRORS - len(errors)]]
            if len(errors) >= MAX_ERRORS:
                break
        else:
            labels.append(Label(**dict(label)))
        if row % STEP_ROWS == 0:
            yield
    if errors:
        first = errors[0]
        where = f"{first.field}: " if first.field else ""
        raise Problem(422, "validation", f"row {first.row}: {where}{first.message}", errors=errors)
    return labels


def _explain(error: Any, row: int) -> FieldError:
    field = str(error["loc"][0])[:64] if error["loc"] else None
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        message = "must have a visible character, and no NUL"
    if error["type"] == "extra_forbidden":
        message = f"there is no such field; {nearest(str(field), LabelBody.model_fields)}"
    rule = "value" if error["type"] == "value_error" else error["type"]
    return FieldError(field=field, rule=rule, message=message, row=row)
