"""Newest columns of customers: the newest row stays, is read by id, and goes with the customer or its age."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from churnops.errors import DataError
from churnops.journal import online_rows as module
from churnops.journal.forget import forget_customer
from churnops.journal.layouts import Layout, LayoutColumn
from churnops.journal.online_rows import NewRow, read_online_rows, write_online_rows
from churnops.journal.prune import prune
from churnops.journal.tables import microseconds
from tests.support.journals import DAY, START

LAYOUT = Layout("v1", "f" * 64, None, None, (LayoutColumn("minutes", "number"), LayoutColumn("plan", "level", ("No",))))
OTHER = Layout("v2", "e" * 64, None, None, (LayoutColumn("calls", "integer"),))


def new(customer: str, minutes: float, day: int = 0, plan: str = "No") -> NewRow:
    packed = LAYOUT.pack({"minutes": minutes, "plan": plan})
    return NewRow(customer, microseconds(START + day * DAY), packed.inputs, packed.rest)


def test_the_newest_row_of_each_customer_stays(engine: Engine):
    rows = [new("ann", 1.0, 2), new("bob", 2.0), new("ann", 3.0, 1), new("Zoë", 4.0, plan="Maybe")]
    assert write_online_rows(engine, LAYOUT, rows) == 3
    assert write_online_rows(engine, LAYOUT, [new("ann", 5.0, 1), new("bob", 6.0), new("cy", 7.0)]) == 2
    stored = read_online_rows(engine, ["ann", "bob", "Zoë", "nobody"])
    assert {name: row.record for name, row in stored.items()} == {
        "ann": {"minutes": 1.0, "plan": "No"},
        "bob": {"minutes": 6.0, "plan": "No"},  # of the same time, the later one
        "Zoë": {"minutes": 4.0, "plan": "Maybe"},
    }
    assert stored["ann"].at == START + 2 * DAY
    assert read_online_rows(engine, []) == {}


def test_rows_of_another_model_keep_their_own_layout(engine: Engine):
    write_online_rows(engine, LAYOUT, [new("ann", 1.0), new("bob", 1.0)])
    packed = OTHER.pack({"calls": 3})
    write_online_rows(engine, OTHER, [NewRow("ann", microseconds(START + DAY), packed.inputs, packed.rest)])
    stored = read_online_rows(engine, ["ann", "bob"])
    assert stored["ann"].record == {"calls": 3}
    assert stored["bob"].record == {"minutes": 1.0, "plan": "No"}


def test_many_rows_are_written_and_read(engine: Engine):
    rows = [new(f"c{number}", float(number), number % 3) for number in range(2_300)]
    assert write_online_rows(engine, LAYOUT, rows) == 2_300
    assert write_online_rows(engine, LAYOUT, rows) == 2_300  # the same again
    assert len(read_online_rows(engine, [f"c{number}" for number in range(2_500)])) == 2_300


def test_rows_go_with_their_customer_and_with_their_age(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PART", 2)
    write_online_rows(engine, LAYOUT, [new(f"c{number}", 1.0, number) for number in range(7)])
    assert forget_customer(engine, "c6")["online_rows"] == 1
    prune(engine, START + 3 * DAY)
    assert sorted(read_online_rows(engine, [f"c{number}" for number in range(7)])) == ["c3", "c4", "c5"]


def test_a_time_ahead_is_refused_because_it_would_stay_the_newest(engine: Engine):
    ahead = new("ann", 1.0)._replace(at=microseconds(datetime.now(UTC) + 2 * DAY))
    with pytest.raises(DataError, match="1 rows have a time in the future"):
        write_online_rows(engine, LAYOUT, [new("bob", 1.0), ahead])
    assert read_online_rows(engine, ["ann", "bob"]) == {}
