"""Labels in requests: outcomes that arrive later, by prediction or by customer."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    WithJsonSchema,
    model_validator,
)

from churnops.api.items import read_items
from churnops.api.work import Steps
from churnops.journal.labels import Label
from churnops.schema import ID_PATTERN, MAX_ID_LENGTH

FUTURE = timedelta(days=1)  # tolerance, as clocks differ


def past_time(value: Any) -> Any:
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
        BeforeValidator(past_time),
        WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
    ] = Field(None, description="Time when the customer left or was last known to be a customer. Default: now")

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.prediction_id is None) == (self.customer_id is None):
            raise ValueError("exactly one of prediction_id and customer_id is needed")
        return self


def read_labels(body: bytes, max_labels: int) -> Steps[list[Label]]:
    """Read outcomes from a JSON body in steps; see `read_items`."""
    bodies = yield from read_items(body, LabelBody, max_labels)
    return [Label(**dict(label)) for label in bodies]
