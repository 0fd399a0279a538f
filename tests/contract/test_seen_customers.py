"""Which customers have a prediction: counted for labels, and read once for journals of earlier versions."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, MetaData, Table, create_engine, func, select

from churnops.journal import Journal, Label, open_database, seen
from churnops.journal.predictions import PredictionRow, insert_predictions, write_predictions
from churnops.journal.seen import sort_customers, unmatched_sentence
from churnops.journal.stored_layouts import keep_layouts
from churnops.journal.tables import customers, customers_history, customers_log
from tests.support.journals import HORIZON, LASTING, a_prediction, migrate_to, older_values


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine, label_horizon=HORIZON)


def unmatched(engine: Engine, *ids: str) -> int | None:
    counts = Journal(engine, label_horizon=HORIZON).record_labels([Label(True, customer_id=id_) for id_ in ids])
    return counts.unmatched


def count(engine: Engine, table: object) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def test_labels_of_customers_without_a_prediction_are_counted(engine: Engine):
    write_predictions(engine, [a_prediction(customer_id=id_) for id_ in ("ann", "bob", "ann", None)])
    for _ in range(3):  # in the log, then sorted, then sorted again
        assert unmatched(engine, "ann", "bob") == 0
        assert unmatched(engine, "ann", "carl", "dora", "carl") == 3
        assert not sort_customers(engine)
    assert count(engine, customers) == 2
    assert count(engine, customers_log) == 0
    write_predictions(engine, [a_prediction(customer_id="carl")])
    assert unmatched(engine, "carl", "dora") == 1


def test_the_log_is_sorted_a_part_at_a_time(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seen, "PART", 10)
    write_predictions(engine, [a_prediction(customer_id=str(n % 17)) for n in range(25)])
    assert [sort_customers(engine) for _ in range(3)] == [True, True, False]
    assert count(engine, customers) == 17


def test_an_unsorted_log_that_is_too_long_is_not_read(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seen, "MAX_UNSORTED", 4)
    write_predictions(engine, [a_prediction(customer_id=str(n)) for n in range(5)])
    assert unmatched(engine, "nobody") is None
    sort_customers(engine)
    assert unmatched(engine, "nobody", "4") == 1


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_predictions_that_are_not_committed_yet_are_sorted_later(engine: Engine, url: str):
    """The later of two transactions may commit first."""
    if engine.dialect.name == "sqlite":
        pytest.skip("one transaction writes at a time")
    with engine.begin() as connection:
        keep_layouts(connection, [a_prediction().layout])  # another writer would wait for it
    with engine.connect() as slow, slow.begin():
        insert_predictions(slow, [a_prediction(customer_id="slow")])
        write_predictions(engine, [a_prediction(customer_id="quick")])
        sort_customers(engine)
        assert count(engine, customers) == 1
    assert unmatched(engine, "slow", "quick") == 0
    sort_customers(engine)
    assert count(engine, customers) == 2


@pytest.mark.parametrize("url", LASTING, indirect=True)
@pytest.mark.parametrize("rows", [0, 1, 20, 23])
def test_customers_of_earlier_versions_are_read_once(url: str, rows: int, monkeypatch: pytest.MonkeyPatch):
    """Before that, a customer with a sorted prediction is matched; of all others nothing is known."""
    monkeypatch.setattr(seen, "PART", 10)
    ids = [f"c{n}" for n in range(rows)]
    make_older(url, [a_prediction(customer_id=id_) for id_ in ids])
    engine = open_database(url)
    write_predictions(engine, [a_prediction(customer_id="new")])
    assert unmatched(engine, "new") == 0
    assert unmatched(engine, "nobody", *ids) == (None if rows else 1)
    parts = 0
    while sort_customers(engine):
        parts += 1
    assert parts <= 5
    assert unmatched(engine, "nobody", "new", *ids) == 1
    assert (count(engine, customers), count(engine, customers_history)) == (rows + 1, 0)
    engine.dispose()


def test_labels_of_nobody_are_shown_if_they_are_many(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    assert unmatched_sentence(engine) is None
    write_predictions(engine, [a_prediction(customer_id=str(n)) for n in range(20)])
    unmatched(engine, *(str(n) for n in range(18)), "ann", "bob")
    assert (unmatched_sentence(engine) or "").startswith("2 of the newest 20 labels are for customers")
    assert unmatched_sentence(engine, 0.1) is None
    monkeypatch.setattr(seen, "NEWEST_LABELS", 4)
    assert (unmatched_sentence(engine, 0.1) or "").startswith("2 of the newest 4 labels")


def make_older(url: str, rows: Sequence[PredictionRow]) -> None:
    """Make a journal of the version before these tables."""
    engine = create_engine(url)
    with engine.begin() as connection:
        migrate_to(connection, "0004")
        table = Table("predictions", MetaData(), autoload_with=connection)
        for row in rows:
            values = older_values(row)
            connection.execute(table.insert(), {name: values[name] for name in table.c.keys()})  # noqa: SIM118
    engine.dispose()
