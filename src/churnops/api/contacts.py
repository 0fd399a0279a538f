"""Contacts in requests: what became of contacting a customer."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from churnops.api.items import read_items
from churnops.api.labels import past_time
from churnops.api.work import Steps
from churnops.journal.contacts import MAX_NOTE, Contact, Status
from churnops.schema import ID_PATTERN, MAX_ID_LENGTH

_Text = Annotated[str, Strict(), Field(max_length=MAX_NOTE, pattern=r"^[^\x00]*$")]


class ContactBody(BaseModel):
    """One contact with a customer. Every contact is kept; the latest one of a customer and list counts."""

    model_config = ConfigDict(extra="forbid", title="Contact")

    customer_id: Annotated[str, Strict(), Field(max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)]
    status: Annotated[Status, Field(description="to do takes an earlier status back")]
    call_list: Annotated[int, Strict(), Field(ge=1, lt=2**31)] | None = Field(
        None, description="Id of the call list with this customer. Default: a contact without a list"
    )
    note: _Text = ""
    offer: _Text = Field("", description="What the customer was offered")
    at: Annotated[
        datetime | None,
        BeforeValidator(past_time),
        WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
    ] = Field(None, description="Time of the contact. Default: now")


def read_contacts(body: bytes, max_contacts: int) -> Steps[list[Contact]]:
    """Read contacts from a JSON body in steps; see `read_items`."""
    bodies = yield from read_items(body, ContactBody, max_contacts)
    return [Contact(**dict(one)) for one in bodies]
