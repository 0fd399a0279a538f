"""Newest score of each customer: read from new predictions in parts, and removed with them."""

from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread

import pytest
from sqlalchemy import Engine, select

from churnops.decision.candidates import JournalCandidates
from churnops.errors import CallListError
from churnops.journal import newest_scores as module
from churnops.journal.forget import forget_customer
from churnops.journal.newest_scores import SETTLED, begin_again, follow_predictions, newest_state
from churnops.journal.predictions import write_predictions
from churnops.journal.prune import prune
from churnops.journal.tables import newest_scores
from tests.support.journals import DAY, LASTING, POSTGRESQL, START, a_prediction

LATER = START + DAY


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 3)


def follow(engine: Engine, column: str | None = None, now: datetime = LATER) -> None:
    while follow_predictions(engine, column, now):
        pass


def scores(engine: Engine) -> dict[str, tuple[float, float, float | None]]:
    with engine.connect() as connection:
        rows = connection.execute(select(newest_scores)).all()
    return {row.customer_id: (row.probability, row.value, row.at_risk) for row in rows}


def record(engine: Engine, *given: tuple[str | None, float], minutes: int = 0) -> None:
    """Record predictions of customers with a probability, all at the same time."""
    at = START + timedelta(minutes=minutes)
    write_predictions(engine, [a_prediction(at, id_, churn_probability=score) for id_, score in given])


def test_the_newest_score_of_each_customer_is_kept(engine: Engine):
    assert newest_state(engine) == (0, None, None, False)
    record(engine, *((f"c{n}", n / 10) for n in range(8)), (None, 0.9))
    follow(engine)
    assert scores(engine) == {f"c{n}": (n / 10, 0.0, n / 10) for n in range(8)}
    record(engine, ("c1", 0.7), ("c2", 0.8), ("c1", 0.75), minutes=24 * 60)
    follow(engine, now=LATER + timedelta(minutes=1))
    assert scores(engine)["c1"][0] == 0.75
    assert scores(engine)["c2"][0] == 0.8
    assert newest_state(engine) == (8, LATER + timedelta(minutes=1) - SETTLED, None, False)


def test_the_table_is_filled_from_the_first_list_on(engine: Engine):
    record(engine, ("c1", 0.5))
    assert not follow_predictions(engine, None, LATER, begin=False)
    assert scores(engine) == {}
    follow(engine)
    record(engine, ("c1", 0.75), minutes=24 * 60)
    follow_predictions(engine, None, LATER + timedelta(minutes=1), begin=False)
    assert scores(engine)["c1"][0] == 0.75


def test_the_table_is_late_until_all_due_predictions_are_read(engine: Engine):
    record(engine, *((f"c{n}", n / 10) for n in range(8)))
    assert newest_state(engine) == (0, None, None, True)
    begin_again(engine, None)
    assert newest_state(engine).is_late
    assert follow_predictions(engine, None, LATER)
    assert newest_state(engine)[::3] == (3, True)
    with pytest.raises(CallListError, match="are being read"):
        JournalCandidates(engine, None, None)  # type: ignore[arg-type]
    follow(engine)
    assert newest_state(engine)[::3] == (8, False)
    write_predictions(engine, [a_prediction(datetime.now(UTC), "c9")])
    assert not newest_state(engine).is_late


def test_a_prediction_that_may_not_be_committed_yet_waits(engine: Engine):
    record(engine, ("c1", 0.7))
    follow(engine, now=START + SETTLED)
    assert scores(engine) == {}
    follow(engine, now=START + SETTLED + timedelta(seconds=11))
    assert set(scores(engine)) == {"c1"}


def test_values_are_those_of_the_column_of_the_policy(engine: Engine):
    write_predictions(
        engine,
        [
            a_prediction(customer_id="number", churn_probability=0.5, inputs='{"bill":40.0}'),
            a_prediction(customer_id="whole", churn_probability=0.5, inputs='{"bill":20}'),
            a_prediction(customer_id="none", churn_probability=0.5, inputs='{"bill":null}'),
            a_prediction(customer_id="text", churn_probability=0.5, inputs='{"bill":"much"}'),
            a_prediction(customer_id="other", churn_probability=0.5, inputs='{"days":3.0}'),
        ],
    )
    follow(engine, "bill")
    unknown = (0.5, 0.0, None)
    known = {"number": (0.5, 40.0, 20.0), "whole": (0.5, 20.0, 10.0)}
    assert scores(engine) == {**known, "none": unknown, "text": unknown, "other": unknown}
    assert newest_state(engine).value_column == "bill"
    follow(engine, "days")
    assert scores(engine)["other"] == (0.5, 3.0, 1.5)
    assert scores(engine)["number"] == unknown
    follow(engine)
    assert scores(engine)["number"] == (0.5, 0.0, 0.5)


def test_the_table_can_be_made_again(engine: Engine):
    record(engine, ("c1", 0.7), ("c2", 0.2))
    follow(engine)
    before = scores(engine)
    with engine.begin() as connection:
        connection.execute(newest_scores.delete())
    follow(engine)
    assert scores(engine) == {}
    begin_again(engine, None)
    follow(engine)
    assert scores(engine) == before


def test_pruned_and_forgotten_customers_leave_the_table(engine: Engine):
    record(engine, ("old", 0.7))
    record(engine, *((f"c{n}", 0.5) for n in range(7)), minutes=10)
    follow(engine)
    prune(engine, START + timedelta(minutes=5))
    assert set(scores(engine)) == {f"c{n}" for n in range(7)}
    forget_customer(engine, "c3")
    follow(engine, now=LATER + DAY)
    assert "c3" not in scores(engine)


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_processes_that_follow_at_once_read_each_part_once(engine: Engine):
    record(engine, *((f"c{n}", n / 100) for n in range(50)))
    threads = [Thread(target=partial(follow, engine)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scores(engine) == {f"c{n}": (n / 100, 0.0, n / 100) for n in range(50)}


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
def test_many_customers_are_copied(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PART", 2_000)
    record(engine, *((f"c{n}", 0.25) for n in range(600)))
    record(engine, *((f"c{n}", 0.5) for n in range(600)), minutes=1)
    follow(engine)
    assert set(scores(engine).values()) == {(0.5, 0.0, 0.5)}
    assert len(scores(engine)) == 600
