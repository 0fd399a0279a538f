"""Which customers have a prediction: counted for labels, and read once for journals of earlier versions."""

import pytest
from sqlalchemy import Engine, func, select

from churnops.journal import Journal, Label, database, open_database, seen
from churnops.journal.predictions import insert_predictions, write_predictions
from churnops.journal.seen import sort_customers, unmatched_sentence
from churnops.journal.tables import customers, customers_history, customers_log
from churnops.journal.tables import labels as label_table
from tests.contract.conftest import LASTING
from tests.contract.test_journal import DAY, HORIZON, START, a_prediction, churned


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
    """Of two transactions the later one may commit first."""
    if engine.dialect.name == "sqlite":
        pytest.skip("one transaction writes at a time")
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
    """Until then nobody can tell who is unmatched; who is found already is not."""
    monkeypatch.setattr(seen, "PART", 10)
    engine = open_database(url)
    ids = [f"c{n}" for n in range(rows)]
    write_predictions(engine, [a_prediction(customer_id=id_) for id_ in ids])
    downgrade(engine)
    engine.dispose()
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


def downgrade(engine: Engine) -> None:
    """Bring a database to the version before these tables."""
    with engine.begin() as connection:
        for table in ("customers", "customers_log", "customers_history"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for table in ("predictions", "labels"):
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN key")
        connection.exec_driver_sql(f"UPDATE {database.VERSION_TABLE} SET version_num = '0004'")


def test_the_key_is_kept_with_predictions_and_labels(engine: Engine, journal: Journal):
    rows = [a_prediction(customer_id="ann")._replace(key="0a1b"), a_prediction(customer_id="bob")]
    write_predictions(engine, rows)
    assert [found.row for found in journal.resolved(START, START + DAY, START)] == rows
    journal.record_labels([Label(True, customer_id="ann")], key="2c3d")
    journal.record_labels([Label(True, customer_id="bob")])
    with engine.connect() as connection:
        assert connection.execute(select(label_table.c.key).order_by(label_table.c.id)).scalars().all() == [
            "2c3d",
            None,
        ]


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u200b"])
def test_blank_ids_of_earlier_versions_are_nobody(engine: Engine, journal: Journal, blank: str):
    """They were accepted once: one label marked all customers without an id."""
    write_predictions(engine, [a_prediction(customer_id=blank) for _ in range(3)])
    journal.record_labels([Label(True, customer_id=blank, outcome_at=START + DAY)])
    assert churned(journal, START + 40 * DAY) == [None] * 3
    assert {found.row.customer_id for found in journal.resolved(START, START + DAY, START)} == {None}
    own = a_prediction(customer_id=blank)
    write_predictions(engine, [own])
    journal.record_labels([Label(True, prediction_id=own.id, outcome_at=START + DAY)])
    found = journal.prediction(own.id)
    assert found is not None
    assert found.churned is True
