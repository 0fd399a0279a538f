"""Queries on a journal of 50 million predictions and labels read only the rows of their window, on each database."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from churnops.journal import Journal, Label, new_prediction_id
from churnops.journal.call_lists import CallListStore, ListedCustomer
from churnops.journal.clock import entries_ahead
from churnops.journal.contacts import Contact, ContactLog
from churnops.journal.newest_scores import follow_predictions
from churnops.journal.partitions import next_months
from churnops.journal.predictions import write_predictions
from churnops.journal.ranked_scores import left_out, ranked_scores, recorded_inputs
from churnops.journal.seen import unmatched_sentence
from churnops.journal.tables import microseconds
from churnops.schema import Column
from tests.support.journals import DAY, HORIZON, a_prediction

ROWS = 50_000_000
GROW = "predictions|labels|newest_scores(?!_)|call_list_rows|contacts"


@pytest.fixture
def asked(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Every later SELECT of predictions or labels, with its parameters."""
    statements: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and re.search(GROW, statement):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    yield statements
    event.remove(engine, "before_cursor_execute", keep)


def pretend(engine: Engine) -> None:
    """Tell PostgreSQL's planner that tables are large; SQLite's plans do not depend on the number of rows."""
    now = datetime.now(UTC)
    times = [now - 9 * 31 * DAY, now - 31 * DAY, now, *next_months(now)]  # a row in each partition
    write_predictions(engine, [a_prediction(at) for at in times])
    Journal(engine, label_horizon=HORIZON).record_labels([Label(True, customer_id="c1")])
    while follow_predictions(engine, None):
        pass
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL allow_system_table_mods = on")
            size = f"UPDATE pg_class SET reltuples = {ROWS}, relpages = 1 WHERE relname ~ '^({GROW})'"
            connection.exec_driver_sql(size)


def scans(engine: Engine, statement: str, parameters: Any) -> list[str]:
    """Return the lines of a plan that read a whole table."""
    explain, whole = ("EXPLAIN QUERY PLAN", rf"SCAN ({GROW})(?!.* USING (COVERING )?INDEX)")
    if engine.dialect.name == "postgresql":
        explain, whole = "EXPLAIN", rf"Seq Scan on ({GROW})"
    with engine.connect() as connection:
        lines = [str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)]
    ends = re.search(r"FROM labels ORDER BY labels\.id DESC\s+LIMIT", statement)  # read backwards, up to the limit
    return [line for line in lines if re.search(whole, line) and not ends]


def test_no_query_reads_a_whole_table(engine: Engine, asked: list[tuple[str, Any]]):
    pretend(engine)
    asked.clear()
    journal, now = Journal(engine, label_horizon=HORIZON), datetime.now(UTC)
    window = now - 37 * DAY, now - 30 * DAY
    content = a_prediction().layout.content_sha256
    list(journal.resolved(*window, now))
    list(journal.columns(*window, now, read=("churn_probability",), content_sha256=content))
    list(journal.columns(*window, now, read=("customer_id",), labelled=True))
    list(journal.columns(*window, now, content_sha256=content, labelled=True))
    journal.count(*window)
    journal.newest_begin(1, now)
    journal.newest_begin(10_000, now)
    journal.oldest_end(200)
    journal.waiting(*window, content)
    journal.prediction(new_prediction_id())
    journal.record_labels([Label(True, customer_id="c0"), Label(False, customer_id="new")])
    unmatched_sentence(engine)
    entries_ahead(engine, now)
    follow_predictions(engine, None, now + DAY)
    plan = Column(name="plan", kind="category", choices=("basic", "gold"))
    list(ranked_scores(engine, 0.0, 0.1))
    list(ranked_scores(engine, 0.0, 0.1, [(plan, frozenset({1}))]))
    made = CallListStore(engine).add(
        "week", {}, {}, [ListedCustomer(1, "c1", "p", 0.5, None, None, (), "")], by="", after=0
    )
    assert made is not None
    left_out(engine, ["c1"], now - 30 * DAY, [0])
    recorded_inputs(engine, [(new_prediction_id(), microseconds(now))])
    ContactLog(engine).record([Contact("c1", "kept", made[0].id)])
    ContactLog(engine).of_list(made[0].id)
    CallListStore(engine).customers(made[0].id)
    assert len(asked) > 20
    assert {statement: bad for statement, values in asked if (bad := scans(engine, statement, values))} == {}


def test_the_check_detects_reads_of_a_whole_table(engine: Engine):
    pretend(engine)
    for statement in (
        "SELECT count(*) FROM predictions WHERE customer_id = 'c'",
        "SELECT id FROM labels WHERE churned",
    ):
        assert scans(engine, statement, ())
    later = datetime.now(UTC) + DAY
    assert not scans(engine, f"SELECT id FROM predictions WHERE at > {round(later.timestamp()) * 10**6}", ())
