"""Predictions and labels, on every database."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from churnops.errors import JournalError, UnknownPrediction
from churnops.journal import Journal, Label, LabelCounts, PredictionRow
from churnops.journal.inserts import BULK_ROWS
from churnops.journal.labels import write_labels
from churnops.journal.predictions import insert_predictions, write_predictions
from churnops.journal.tables import labels as label_table
from tests.support.journals import DAY, HORIZON, START, a_prediction


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine, label_horizon=HORIZON)


def written(engine: Engine, *rows: PredictionRow) -> PredictionRow:
    write_predictions(engine, rows)
    return rows[0]


def labelled(engine: Engine, at: datetime, *labels: Label) -> LabelCounts:
    """Record labels at a moment of the past."""
    with engine.begin() as connection:
        return write_labels(connection, labels, at)


def number_of_labels(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(label_table)).scalar_one()


def churned(journal: Journal, known_at: datetime) -> list[bool | None]:
    return [found.churned for found in journal.resolved(START - DAY, START + 365 * DAY, known_at)]


def test_a_prediction_is_read_back_to_the_last_bit(engine: Engine, journal: Journal):
    row = written(engine, a_prediction(START + timedelta(microseconds=1)))
    short = a_prediction(customer_id=None, base_value=None, explanation_scale=None, top_shap_features=None)
    written(engine, short)
    for expected in (row, short):
        found = journal.prediction(expected.id)
        assert found is not None
        assert found.row == expected
        assert found.row.at.utcoffset() == timedelta(0)
        assert (found.churned, found.known_at) == (None, None)
        assert type(found.row.churn_prediction) is bool
    assert journal.prediction("nonesuch") is None
    journal.check()


def test_repeating_an_id_changes_nothing(engine: Engine, journal: Journal):
    row = a_prediction()
    written(engine, row, row, a_prediction())
    written(engine, row._replace(churn_probability=0.9))
    assert len(churned(journal, START)) == 2
    found = journal.prediction(row.id)
    assert found is not None
    assert found.row == row


def test_many_rows_at_once_skip_known_ids(engine: Engine, journal: Journal):
    """PostgreSQL gets them by COPY."""
    known, rows = written(engine, a_prediction()), [a_prediction() for _ in range(BULK_ROWS)]
    with engine.begin() as connection:
        insert_predictions(connection, [known._replace(churn_probability=0.9), *rows])
        insert_predictions(connection, rows)
    assert len(churned(journal, START)) == BULK_ROWS + 1
    assert [found.row for row in (known, rows[-1]) if (found := journal.prediction(row.id))] == [known, rows[-1]]


def test_a_refused_value_among_many_rows_is_an_error_of_the_journal(engine: Engine):
    rows = [*(a_prediction() for _ in range(BULK_ROWS)), a_prediction()._replace(churn_probability="many")]  # type: ignore[arg-type]
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite keeps any value")
    with pytest.raises(DBAPIError):
        write_predictions(engine, rows)


def test_a_prediction_is_found_if_its_id_has_another_time(engine: Engine, journal: Journal):
    """Clocks are corrected, and ids of older versions may have any form."""
    rows = [a_prediction(), a_prediction(id="older-id"), a_prediction(at=datetime.now(UTC))]
    written(engine, *rows)
    assert [found.row for row in rows if (found := journal.prediction(row.id))] == rows
    assert journal.record_labels([Label(True, prediction_id=row.id) for row in rows]).recorded == 3


def test_labels_are_recorded_once(engine: Engine, journal: Journal):
    row = written(engine, a_prediction())
    for label, unmatched in (
        (Label(True, prediction_id=row.id), 0),
        (Label(False, customer_id="c1"), 0),
        (Label(True, customer_id="c2", outcome_at=START), 1),
    ):
        assert journal.record_labels([label, label]) == LabelCounts(1, 1, unmatched * 2)
        assert journal.record_labels([label]) == LabelCounts(0, 1, unmatched)
    assert number_of_labels(engine) == 3
    assert journal.record_labels([]) == LabelCounts(0, 0)


def test_a_correction_is_a_new_row_and_wins(engine: Engine, journal: Journal):
    row = written(engine, a_prediction())
    label = Label(True, prediction_id=row.id, outcome_at=START + 3 * DAY)
    seen = []
    for n, news in enumerate((label, replace(label, churned=False, outcome_at=START + 31 * DAY), label), 40):
        assert labelled(engine, START + n * DAY, news).recorded == 1
        seen.append(churned(journal, START + n * DAY))
    assert seen == [[True], [False], [True]]
    assert number_of_labels(engine) == 3
    # What was known on an earlier day does not change.
    assert [churned(journal, START + n * DAY) for n in (39, 40, 41, 42)] == [[None], [True], [False], [True]]


def test_an_unknown_prediction_is_named_and_nothing_is_written(engine: Engine, journal: Journal):
    row = written(engine, a_prediction())
    labels = [Label(True, customer_id="c"), Label(True, prediction_id=row.id), Label(True, prediction_id="nonesuch")]
    with pytest.raises(UnknownPrediction, match="label 2: prediction 'nonesuch'") as caught:
        journal.record_labels(labels)
    assert (caught.value.index, caught.value.prediction_id) == (2, "nonesuch")
    assert number_of_labels(engine) == 0
    assert journal.record_labels(labels[:2]).recorded == 2


def test_ten_thousand_labels_in_one_call(engine: Engine, journal: Journal):
    rows = [a_prediction(customer_id=None) for _ in range(5_000)]
    written(engine, *rows)
    labels = [Label(True, prediction_id=row.id) for row in rows] + [
        Label(False, customer_id=str(n)) for n in range(5_000)
    ]
    assert journal.record_labels(labels) == LabelCounts(10_000, 0, 5_000)
    assert journal.record_labels(labels) == LabelCounts(0, 10_000, 5_000)


def test_identical_posts_at_once_make_one_row(engine: Engine, journal: Journal):
    row = written(engine, a_prediction())
    labels = [Label(True, customer_id=str(n)) for n in range(20)] + [Label(False, prediction_id=row.id)]

    def post(_: int) -> LabelCounts:
        return journal.record_labels(labels)

    with ThreadPoolExecutor(8) as pool:
        counts: Sequence[LabelCounts] = list(pool.map(post, range(16)))
    assert sum(count.recorded for count in counts) == len(labels)
    assert number_of_labels(engine) == len(labels)


def test_stayed_without_a_time_is_recorded_again_after_a_day(engine: Engine, journal: Journal):
    row = written(engine, a_prediction())
    label = Label(False, prediction_id=row.id)
    counts = [labelled(engine, START + days * DAY, label).recorded for days in (10, 10.5, 31, 31.5)]
    assert counts == [1, 0, 1, 0]
    assert churned(journal, START + 30 * DAY) == [None]
    assert churned(journal, START + 31 * DAY) == [False]


def test_a_label_for_the_prediction_wins_over_the_customers(engine: Engine, journal: Journal):
    row = written(engine, a_prediction())
    labelled(engine, START + 5 * DAY, Label(True, prediction_id=row.id))
    labelled(engine, START + 40 * DAY, Label(False, customer_id="c1"))
    assert churned(journal, START + 41 * DAY) == [True]


def test_a_label_belongs_to_predictions_made_before_the_outcome(engine: Engine, journal: Journal):
    before, after = a_prediction(START), a_prediction(START + 20 * DAY)
    nobodys = a_prediction(START, customer_id=None)
    written(engine, before, after, nobodys)
    labelled(engine, START + 50 * DAY, Label(True, customer_id="c1", outcome_at=START + 10 * DAY))
    found = {row.row.id: row.churned for row in journal.resolved(START, START + 60 * DAY, START + 60 * DAY)}
    assert found == {before.id: True, after.id: None, nobodys.id: None}


def test_an_outcome_is_known_from_the_time_of_its_label(engine: Engine, journal: Journal):
    late, early = written(engine, a_prediction()), written(engine, a_prediction(customer_id="c2"))
    labelled(engine, START + 45 * DAY, Label(True, prediction_id=late.id, outcome_at=START + 40 * DAY))
    labelled(engine, START + 7 * DAY, Label(True, prediction_id=early.id, outcome_at=START + 5 * DAY))
    found = {row.row.id: (row.churned, row.known_at) for row in journal.resolved(START, START + DAY, START + 99 * DAY)}
    assert found == {late.id: (False, START + 45 * DAY), early.id: (True, START + 7 * DAY)}
    now = journal.prediction(early.id)
    assert now is not None
    assert (now.churned, now.known_at) == (True, START + 7 * DAY)


def test_the_window_is_half_open_and_ordered(engine: Engine, journal: Journal):
    rows = [a_prediction(START + n * DAY) for n in (3, 1, 2, 0)]
    written(engine, *rows)
    found = [row.row.at for row in journal.resolved(START, START + 3 * DAY, START)]
    assert found == [START, START + DAY, START + 2 * DAY]


def test_an_iteration_that_is_given_up_releases_its_connection(engine: Engine, journal: Journal):
    written(engine, *(a_prediction() for _ in range(3_000)))
    for _ in range(20):
        with closing(journal.resolved(START, START + DAY, START)) as iteration:
            next(iteration)
    assert len(churned(journal, START)) == 3_000


def test_a_label_is_for_exactly_one_subject():
    for wrong in ({}, {"prediction_id": "p", "customer_id": "c"}):
        with pytest.raises(ValueError, match="exactly one"):
            Label(True, **wrong)


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_a_database_refuses_is_one_line(engine: Engine, journal: Journal, text: str):
    keeps_it = engine.dialect.name == "sqlite" and text == "a\x00b"
    refused = nullcontext() if keeps_it else pytest.raises(JournalError, match=r"\Athe journal's database .*\Z")
    with refused:
        journal.record_labels([Label(True, customer_id=text)])
    with refused:
        assert journal.prediction(text) is None


def test_a_database_that_is_damaged_is_one_line(engine: Engine, journal: Journal):
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions RENAME TO gone")
    for ask in (
        journal.check,
        lambda: journal.prediction("p"),
        lambda: journal.record_labels([Label(True, prediction_id="p")]),
        lambda: list(journal.resolved(START, START + DAY, START)),
    ):
        with pytest.raises(JournalError, match="journal's database failed") as caught:
            ask()
        assert "\n" not in str(caught.value)
