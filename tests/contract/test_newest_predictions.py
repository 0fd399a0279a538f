"""How far back the newest predictions reach, on every database."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from churnops.journal import Journal, new_prediction_id, open_database
from churnops.journal.predictions import write_predictions
from tests.support.journals import prediction_row

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def write_one_a_day(engine: Engine, days: int) -> None:
    rows = [
        prediction_row(
            id=new_prediction_id(),
            at=START + day * DAY,
            customer_id=None,
            model_version="v1",
            content_sha256="f" * 64,
            churn_probability=0.5,
            churn_prediction=True,
            base_value=None,
            explanation_scale=None,
            top_shap_features=None,
            inputs="{}",
            source="api",
        )
        for day in range(days)
    ]
    write_predictions(engine, rows)


@pytest.mark.parametrize(("count", "day"), [(1, 9), (3, 7), (10, 0)])
def test_the_newest_predictions_reach_back_to_the_last_of_them(engine: Engine, count: int, day: int):
    write_one_a_day(engine, 10)
    journal = Journal(engine, label_horizon=30 * DAY)

    assert journal.newest_begin(count, START + 100 * DAY) == START + day * DAY


def test_only_predictions_before_the_moment_count(engine: Engine):
    write_one_a_day(engine, 10)
    journal = Journal(engine, label_horizon=30 * DAY)

    assert journal.newest_begin(2, START + 5 * DAY) == START + 3 * DAY


def test_fewer_predictions_than_asked_give_none(engine: Engine):
    write_one_a_day(engine, 2)
    journal = Journal(engine, label_horizon=30 * DAY)

    assert journal.newest_begin(3, START + 100 * DAY) is None


def test_the_oldest_predictions_reach_up_to_the_last_of_them(engine: Engine):
    write_one_a_day(engine, 3)
    journal = Journal(engine, label_horizon=30 * DAY)

    assert journal.oldest_end(2) == START + DAY
    assert journal.oldest_end(4) is None


def test_the_query_reads_only_an_index(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    asked = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    Journal(engine, label_horizon=30 * DAY).newest_begin(3, START)
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1][0]}", asked[-1][1]).all()
    engine.dispose()

    assert [row[3] for row in plan] == ["SEARCH predictions USING COVERING INDEX predictions_at (at<?)"]
