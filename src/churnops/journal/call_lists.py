"""Call lists: customers to contact, kept as they were made. What became of them is in `contacts`.

A long list is written in parts, so that predictions need not wait for it. It is visible once it is complete. Until then
no other list is made, because nobody may be on both.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, Select, delete, func, insert, select, update

from churnops.errors import CallListError
from churnops.journal.database import answering, exclusive
from churnops.journal.inserts import insert_rows
from churnops.journal.tables import call_list_rows, call_lists, microseconds, moment

PART = 200
"""Number of rows that one transaction writes or removes; other writers wait for it."""

PAUSE_SECONDS = 0.01  # between two parts, for other writers
LEASE = timedelta(seconds=30)
"""Time after its last part until a list that is not complete counts as given up, because its process was killed."""

_LEASE = LEASE // timedelta(microseconds=1)
_COLUMNS = tuple(call_list_rows.c.keys())
_COMPLETE = select(call_lists).where(call_lists.c.writing_until.is_(None))


class ListedCustomer(NamedTuple):
    """A customer of a call list, as the list was made.

    `place` counts from 1. `prediction` is None if the score comes from a file, `value` and `expected_profit` are None
    if the decision policy lacks the numbers.
    """

    place: int
    customer_id: str
    prediction: str | None
    probability: float
    value: float | None
    expected_profit: float | None
    reasons: tuple[str, ...]
    action: str


@dataclass(frozen=True)
class CallList:
    """A call list without its customers.

    Attributes
    ----------
    request
        What was asked for, in JSON types.
    head
        Numbers, expected profit, policy and model of the list, in JSON types.
    by
        Name of the user or the API key; None if not known.
    """

    id: int
    name: str
    at: datetime
    request: Mapping[str, Any]
    head: Mapping[str, Any]
    by: str | None


class CallListStore:
    """The kept call lists. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self, limit: int = 50) -> list[CallList]:
        """Return the last lists, newest first."""
        return self._read(_COMPLETE.order_by(call_lists.c.id.desc()).limit(limit))

    def get(self, id_: int) -> CallList | None:
        """Return a list; None if there is none."""
        return next(iter(self._read(_COMPLETE.where(call_lists.c.id == id_))), None)

    def named(self, name: str) -> CallList | None:
        """Return the list with a name; None if there is none."""
        return next(iter(self._read(_COMPLETE.where(call_lists.c.name == name))), None)

    def last_id(self) -> int:
        """Return the id of the newest list; 0 if there is none.

        First remove lists whose process was killed, and wait for those that are being written.

        Raises
        ------
        CallListError
            If another list is being written for long.
        """
        began = time.monotonic()
        unfinished = select(call_lists.c.id, call_lists.c.writing_until).where(call_lists.c.writing_until.is_not(None))
        while True:
            with answering(), self._engine.connect() as connection:
                last = _last_id(connection)  # first: a list that begins in between is unfinished
                lists = connection.execute(unfinished).all()
            if not lists:
                return last
            if time.monotonic() - began > LEASE.total_seconds() + 5:
                raise CallListError("another call list is being written: try again in a minute")
            for one in lists:
                if one.writing_until < microseconds(datetime.now(UTC)):
                    self._remove(one.id)
            time.sleep(PAUSE_SECONDS)

    def customers(self, id_: int, after: int = 0, limit: int | None = None) -> list[ListedCustomer]:
        """Return the customers of a list in order, from the place `after` on, `limit` at most."""
        table = call_list_rows.c
        query = select(call_list_rows).where(table.call_list == id_, table.place > after).order_by(table.place)
        with answering(), self._engine.connect() as connection:
            rows = connection.execute(query.limit(limit)).all()
        fields = ListedCustomer._fields
        return [
            ListedCustomer._make(
                tuple(json.loads(row.reasons)) if name == "reasons" else getattr(row, name) for name in fields
            )
            for row in rows
        ]

    def add(
        self,
        name: str,
        request: Mapping[str, Any],
        head: Mapping[str, Any],
        customers: Sequence[ListedCustomer],
        *,
        by: str | None,
        after: int,
    ) -> tuple[CallList, bool] | None:
        """Keep a list; return it, and whether it is new: the same request may have made a list of this name before.

        Parameters
        ----------
        after
            Result of `last_id` before the customers were chosen. If another list was begun since then, nothing is kept
            and the result is None: the customers have to be chosen again, so that none is on both lists.

        Raises
        ------
        CallListError
            If a list of another request has this name, or writing took so long that the list was given up.
        """
        at = microseconds(datetime.now(UTC))
        until = None if len(customers) <= PART else at + _LEASE
        values = {"name": name, "at": at, "request": _text(request), "head": _text(head), "by": by}
        with answering(), exclusive(self._engine) as connection:
            row = connection.execute(select(call_lists).where(call_lists.c.name == name)).first()
            if row is not None and row.writing_until is None:
                return same_request(_call_list(row), request), False
            if row is not None or _last_id(connection) != after:
                return None
            inserted = connection.execute(insert(call_lists), values | {"writing_until": until})
            assert inserted.inserted_primary_key is not None
            id_ = int(inserted.inserted_primary_key[0])
            _write(connection, id_, customers[:PART])
        if until is not None:
            self._continue(id_, customers, until)
        return CallList(id_, name, moment(at), request, head, by), True

    def _continue(self, id_: int, customers: Sequence[ListedCustomer], until: int) -> None:
        """Write the other parts; with the last one, the list is complete."""
        for start in range(PART, len(customers), PART):
            time.sleep(PAUSE_SECONDS)
            is_last = start + PART >= len(customers)
            following = None if is_last else max(microseconds(datetime.now(UTC)) + _LEASE, until + 1)
            own = call_lists.c.id == id_, call_lists.c.writing_until == until  # a list of another process has another
            with answering(), exclusive(self._engine) as connection:
                if not connection.execute(update(call_lists).where(*own).values(writing_until=following)).rowcount:
                    raise CallListError("the call list was given up, because writing it took too long: try again")
                _write(connection, id_, customers[start : start + PART])
            until = following or until

    def _remove(self, id_: int) -> None:
        """Remove a list that was given up, unless another process is faster."""
        given_up = call_lists.c.id == id_, call_lists.c.writing_until < microseconds(datetime.now(UTC))
        own, place = call_list_rows.c.call_list == id_, call_list_rows.c.place
        while True:
            with answering(), exclusive(self._engine) as connection:
                if connection.execute(select(call_lists.c.id).where(*given_up)).first() is None:
                    return
                places = connection.execute(select(place).where(own).order_by(place).limit(PART)).scalars().all()
                connection.execute(delete(call_list_rows).where(own, place.in_(places)))
                if not places:
                    connection.execute(delete(call_lists).where(*given_up))
                    return
            time.sleep(PAUSE_SECONDS)

    def _read(self, query: Select[Any]) -> list[CallList]:
        with answering(), self._engine.connect() as connection:
            return [_call_list(row) for row in connection.execute(query)]


def same_request(call_list: CallList, request: Mapping[str, Any]) -> CallList:
    """Return a list if it was made by this request.

    Raises
    ------
    CallListError
        If another request made it.
    """
    if _text(call_list.request) != _text(request):
        raise CallListError(
            f"another call list has this name already, made {call_list.at:%Y-%m-%d %H:%M} UTC: give another name"
        )
    return call_list


def _write(connection: Connection, id_: int, customers: Sequence[ListedCustomer]) -> None:
    rows = [(id_, *customer[:6], _text(customer.reasons), customer.action) for customer in customers]
    insert_rows(connection, call_list_rows.name, _COLUMNS, rows, skip_known=False)


def _last_id(connection: Connection) -> int:
    return int(connection.execute(select(func.max(call_lists.c.id))).scalar() or 0)


def _call_list(row: Row[Any]) -> CallList:
    return CallList(row.id, row.name, moment(row.at), json.loads(row.request), json.loads(row.head), row.by)


def _text(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, allow_nan=False)
