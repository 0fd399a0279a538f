"""One customer's rows are removed from the journal, on every database."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from churnops.journal import Label, open_database
from churnops.journal.arm_outcomes import ExposureStore
from churnops.journal.call_lists import CallListStore, ListedCustomer
from churnops.journal.contacts import Contact, ContactLog
from churnops.journal.exposures import Exposure, sort_exposures
from churnops.journal.forget import count_customer, forget_customer, rewrite_unused_pages
from churnops.journal.labels import write_labels
from churnops.journal.newest_scores import follow_predictions
from churnops.journal.predictions import write_predictions
from churnops.journal.seen import customer_hash, log_customers, sort_customers
from churnops.journal.shadow_scores import ShadowScore, ShadowScores
from churnops.journal.tables import customers, customers_log, labels, microseconds, predictions, shadow_scores
from tests.support.experiments import start_experiment
from tests.support.journals import DAY, START, a_prediction

ANN, BOB = "ann-4711", "bob-4712"


def record(engine: Engine) -> None:
    """Two predictions of each customer, a label and a shadow score of one, a label of the customer, and hashes."""
    experiment = start_experiment(engine).id
    for customer in (ANN, BOB):
        rows = [a_prediction(customer_id=customer) for _ in range(2)]
        write_predictions(engine, rows)
        ShadowScores(engine).write([ShadowScore(rows[1].id, experiment, microseconds(START), customer, 0.4, 0.5)])
        by_id = Label(True, customer_id=customer, outcome_at=START)
        by_prediction = Label(False, prediction_id=rows[0].id, outcome_at=START + DAY)
        with engine.begin() as connection:
            write_labels(connection, [by_id, by_prediction], START + 2 * DAY)
    sort_customers(engine)
    follow_predictions(engine, None)
    on_list = [ListedCustomer(place, name, None, 0.5, None, None, (), "") for place, name in enumerate((ANN, BOB), 1)]
    CallListStore(engine).add("week 1", {}, {}, on_list, by=None, after=0)
    ContactLog(engine).record([Contact(ANN, "reached"), Contact(BOB, "kept", call_list=1)])
    exposed = [Exposure(experiment, customer, None, 0, True, False) for customer in (ANN, BOB)]
    ExposureStore(engine).write(exposed)
    sort_exposures(engine)
    ExposureStore(engine).write(exposed)
    with engine.begin() as connection:
        log_customers(connection, [ANN, BOB])


def test_every_row_of_the_customer_goes_and_no_other(engine: Engine) -> None:
    record(engine)
    counts = {"labels": 2, "shadow_scores": 1, "predictions": 2}
    counts |= {"customers": 1, "customers_log": 1, "exposures": 1, "exposures_log": 1, "online_rows": 0}
    counts |= {"newest_scores": 1, "call_list_rows": 1, "contacts": 1}
    assert count_customer(engine, ANN) == count_customer(engine, BOB) == counts
    assert forget_customer(engine, ANN) == counts
    assert count_customer(engine, ANN) == forget_customer(engine, ANN) == dict.fromkeys(counts, 0)
    assert count_customer(engine, BOB) == counts
    with engine.connect() as connection:
        assert set(connection.execute(select(predictions.c.customer_id)).scalars()) == {BOB}
        assert set(connection.execute(select(labels.c.id)).scalars()) == {3, 4}
        assert len(connection.execute(select(shadow_scores)).all()) == 1
        hashes = [connection.execute(select(t.c.hash)).scalars().all() for t in (customers, customers_log)]
    assert hashes == [[customer_hash(BOB)]] * 2


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_the_files_of_sqlite_lose_the_id_once_nobody_has_them_open(url: str, tmp_path: Path) -> None:
    engine = open_database(url)
    record(engine)
    forget_customer(engine, ANN)
    assert not rewrite_unused_pages(url)
    engine.dispose()
    assert rewrite_unused_pages(url)
    contents = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert ANN.encode() not in contents
    assert BOB.encode() in contents
    engine = open_database(url)
    assert count_customer(engine, BOB)["predictions"] == 2
    engine.dispose()
