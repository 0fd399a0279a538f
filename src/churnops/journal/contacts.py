"""Contacts with customers: every entry is kept, the latest one of a customer and list counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from sqlalchemy import Connection, Engine, select

from churnops.errors import JournalError
from churnops.journal.among import among
from churnops.journal.database import answering, exclusive
from churnops.journal.inserts import insert_rows
from churnops.journal.tables import call_list_rows, call_lists, contacts, microseconds, moment

Status = Literal["to do", "reached", "declined", "kept"]
STATUSES: tuple[Status, ...] = get_args(Status)
MAX_NOTE = 1000  # characters
_COLUMNS = tuple(name for name in contacts.c.keys() if name != "id")  # noqa: SIM118
_CHUNK = 500  # limit of one IN (...)


@dataclass(frozen=True)
class Contact:
    """Result of contacting a customer.

    Attributes
    ----------
    call_list
        Id of the call list; None for a contact without a list.
    status
        "to do" takes an earlier entry back: the customer was not contacted.
    offer
        What the customer was offered; empty if not known.
    at
        Time of the contact; None: now.
    """

    customer_id: str
    status: Status
    call_list: int | None = None
    note: str = ""
    offer: str = ""
    at: datetime | None = None


class UnknownCustomer(JournalError):  # noqa: N818  (a verdict on the input)
    """A contact names a list that does not exist, or a customer who is not on it; `index` is its place, from 0."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class ContactLog:
    """The contacts. Entries are added, never changed. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, entries: Sequence[Contact], *, by: str | None = None, key: str | None = None) -> int:
        """Record contacts in one transaction; return their number.

        Parameters
        ----------
        by, key
            Name of the user; id of the request's API key.

        Raises
        ------
        UnknownCustomer
            If a call list does not exist, or lacks the customer. Nothing is recorded then.
        """
        now = microseconds(datetime.now(UTC))
        rows = [
            (
                now if entry.at is None else microseconds(entry.at),
                now,
                entry.customer_id,
                entry.call_list,
                entry.status,
                entry.note or None,
                entry.offer or None,
                by,
                key,
            )
            for entry in entries
        ]
        with answering(), exclusive(self._engine) as connection:
            _refuse_unknown(connection, entries)
            return insert_rows(connection, contacts.name, _COLUMNS, rows, skip_known=False)

    def of_list(self, call_list: int) -> dict[str, Contact]:
        """Return the latest entry of each customer of a list that has one."""
        query = select(contacts).where(contacts.c.call_list == call_list).order_by(contacts.c.id)
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {
            row.customer_id: Contact(
                row.customer_id, row.status, call_list, row.note or "", row.offer or "", moment(row.at)
            )
            for row in rows
        }


def contacted_since(connection: Connection, ids: Sequence[str], since: int) -> set[str]:
    """Return the customers among `ids` who were contacted since a time, in microseconds.

    The latest entry of a customer and list counts, and "to do" is no contact.
    """
    table = contacts.c
    query = select(table.customer_id, table.call_list, table.status)
    own = among(connection, table.customer_id, ids), table.at >= since
    rows = connection.execute(query.where(*own).order_by(table.id))
    last = {(row.customer_id, row.call_list): row.status for row in rows}
    return {customer for (customer, _), status in last.items() if status != "to do"}


def listed_since(connection: Connection, ids: Sequence[str], since: int) -> set[str]:
    """Return the customers among `ids` who are on a call list made since a time, in microseconds."""
    rows, lists = call_list_rows.c, call_lists.c
    query = select(rows.customer_id).distinct().join(call_lists, rows.call_list == lists.id)  # they may be on many
    own = among(connection, rows.customer_id, ids), lists.at >= since
    return set(connection.execute(query.where(*own)).scalars().all())


def _refuse_unknown(connection: Connection, entries: Sequence[Contact]) -> None:
    """Refuse an entry for a customer who is not on its list."""
    by_list: dict[int, dict[str, int]] = {}
    for index, entry in enumerate(entries):
        if entry.call_list is not None:
            by_list.setdefault(entry.call_list, {}).setdefault(entry.customer_id, index)
    for call_list, customers in by_list.items():
        complete = call_lists.c.id == call_list, call_lists.c.writing_until.is_(None)
        if connection.execute(select(call_lists.c.id).where(*complete)).first() is None:
            raise UnknownCustomer(min(customers.values()), f"there is no call list {call_list}")
        _refuse_others(connection, call_list, customers)


def _refuse_others(connection: Connection, call_list: int, customers: Mapping[str, int]) -> None:
    rows, ids = call_list_rows.c, list(customers)
    listed: set[str] = set()
    for start in range(0, len(ids), _CHUNK):
        part = rows.customer_id.in_(ids[start : start + _CHUNK])
        listed |= set(connection.execute(select(rows.customer_id).where(part, rows.call_list == call_list)).scalars())
    if others := customers.keys() - listed:
        raise UnknownCustomer(min(customers[other] for other in others), f"the customer is not on list {call_list}")
