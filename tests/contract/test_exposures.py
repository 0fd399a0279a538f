"""Exposures with the outcomes of their customers, on every database."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, select

from churnops.journal import Journal, Label, arm_outcomes
from churnops.journal import exposures as module
from churnops.journal.arm_outcomes import ArmCount, ExposureStore
from churnops.journal.database import exclusive
from churnops.journal.exposures import Exposure, sort_exposures
from churnops.journal.predictions import write_predictions
from churnops.journal.prune import prune
from churnops.journal.tables import experiments, exposures, exposures_log, microseconds
from tests.support.experiments import start_experiment
from tests.support.journals import DAY, HORIZON, START, a_prediction


def expose(engine: Engine, days: range, experiment: int = 1, *, fell_back: bool = False) -> list[str]:
    """Record a prediction each day, of the customers c0, c1, ...; those with an even number are the challenger's."""
    rows = [a_prediction(START + day * DAY, f"c{day}") for day in days]
    exposed = [
        Exposure(experiment, str(row.customer_id), row.id, microseconds(row.at), day % 2 == 0, fell_back)
        for day, row in zip(days, rows, strict=True)
    ]
    write_predictions(engine, rows, exposed)
    return [row.id for row in rows]


def test_a_customer_counts_once_with_the_first_answer(engine: Engine):
    expose(engine, range(5))
    expose(engine, range(5), fell_back=True)
    expose(engine, range(2), experiment=2, fell_back=True)
    store = ExposureStore(engine)
    assert store.count(1) == (ArmCount(2, 0), ArmCount(3, 0))
    assert store.count(2) == (ArmCount(1, 1), ArmCount(1, 1))
    expose(engine, range(3, 6), fell_back=True)
    assert store.count(1) == (ArmCount(3, 1), ArmCount(3, 0))
    assert not sort_exposures(engine)
    with engine.connect() as connection:
        assert connection.execute(select(exposures_log)).all() == []


def test_another_process_may_sort_the_log_first(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    expose(engine, range(3))

    @contextmanager
    def late(engine: Engine) -> Iterator[Connection]:
        with exclusive(engine) as connection:
            connection.execute(exposures_log.delete())
            yield connection

    monkeypatch.setattr(module, "exclusive", late)
    assert not sort_exposures(engine)


def test_outcomes_enter_when_the_horizon_ends(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arm_outcomes, "PAGE", 2)
    arm_outcomes._page.cache_clear()
    ids = expose(engine, range(6))
    labels = [Label(True, customer_id="c0", outcome_at=START + 3 * DAY), Label(False, prediction_id=ids[1])]
    journal = Journal(engine, label_horizon=HORIZON)
    journal.record_labels(labels)
    journal.record_labels([Label(True, customer_id="c3", outcome_at=START + 90 * DAY)])
    store = ExposureStore(engine)
    early = store.outcomes(1, HORIZON, START + HORIZON + timedelta(days=4, hours=1))
    assert early.challenger.tolist() == [True, False, True, False, True]
    late = store.outcomes(1, HORIZON, START + 3650 * DAY)
    arm_outcomes._page.cache_clear()
    np.testing.assert_array_equal(late.churned, [1.0, 0.0, np.nan, 0.0, np.nan, np.nan])
    assert store.outcomes(2, HORIZON, START + 3650 * DAY).churned.size == 0


def test_customers_of_files_have_no_prediction(engine: Engine):
    store = ExposureStore(engine)
    store.write([Exposure(1, "ann", None, microseconds(START), True, False)])
    Journal(engine, label_horizon=HORIZON).record_labels([Label(True, customer_id="ann", outcome_at=START + DAY)])
    assert store.outcomes(1, HORIZON, START + 3650 * DAY).churned.tolist() == [1.0]


def test_pruning_removes_the_customers_of_ended_splits_only(engine: Engine):
    split = start_experiment(engine, kind="split", share=0.5)
    expose(engine, range(3), experiment=split.id)
    sort_exposures(engine)
    prune(engine, START + 400 * DAY)
    assert sum(arm.customers for arm in ExposureStore(engine).count(split.id)) == 3
    with engine.begin() as connection:
        ended = {"state": "stopped", "ended_at": microseconds(START)}
        connection.execute(experiments.update().values(ended))
    prune(engine, START + 400 * DAY)
    with engine.connect() as connection:
        assert connection.execute(select(exposures)).all() == []
