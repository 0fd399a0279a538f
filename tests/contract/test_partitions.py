"""PostgreSQL's predictions by month: months are made ahead, and rows without a month are kept and moved."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from churnops.journal import Journal
from churnops.journal.partitions import ensure_partitions
from churnops.journal.predictions import write_predictions
from tests.support.journals import HORIZON, LASTING, a_prediction

FAR = datetime(2199, 12, 31, 23, 59, tzinfo=UTC)


def partitions(engine: Engine) -> dict[str, int]:
    """Return the number of predictions of each partition that has some."""
    query = "SELECT tableoid::regclass::text, count(*) FROM predictions GROUP BY 1"
    with engine.connect() as connection:
        return dict(connection.exec_driver_sql(query).tuples().all())


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_a_month_is_made_with_the_rows_that_had_none(engine: Engine):
    now = datetime.now(UTC)
    rows = [a_prediction(FAR), a_prediction(FAR + timedelta(minutes=1)), a_prediction(now)]
    write_predictions(engine, rows)
    ensure_partitions(engine, datetime(2199, 10, 31, tzinfo=UTC))
    ensure_partitions(engine, datetime(2199, 10, 31, tzinfo=UTC))
    journal = Journal(engine, label_horizon=HORIZON)
    assert [found.row for row in rows if (found := journal.prediction(row.id))] == rows
    write_predictions(engine, rows)  # again
    if engine.dialect.name == "postgresql":
        present = f"predictions_{now:%Y_%m}"
        assert partitions(engine) == {"predictions_2199_12": 1, "predictions_default": 1, present: 1}
