"""Training rows from the journal, on every database."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from churnops.data.read import encode, outcomes
from churnops.data.validate import check_customers
from churnops.errors import DataError
from churnops.journal import Journal, Label, PredictionRow, new_prediction_id
from churnops.journal import columns as pages
from churnops.journal.labels import write_labels
from churnops.journal.predictions import write_predictions
from churnops.journal.tables import microseconds
from churnops.retraining.rows import ProductionRows, rows_from_journal
from churnops.schema import Column, Schema
from tests.support.journals import prediction_row

DAY = timedelta(days=1)
HORIZON = 30 * DAY
START = datetime(2026, 1, 1, tzinfo=UTC)
LATE = START + 365 * DAY
SCHEMA = Schema(
    columns=(
        Column(name="customer", kind="id", required=False, nullable=True),
        Column(name="minutes", kind="number", nullable=True),
        Column(name="calls", kind="integer"),
        Column(name="state", kind="category", choices=("OH", "KS"), required=False, nullable=True),
        Column(name="plan", kind="flag", choices=("No", "Yes")),
        Column(name="joined", kind="time", required=False, nullable=True),
        Column(name="churn", kind="target", choices=("stayed", "left")),
    )
)


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine, label_horizon=HORIZON)


def a_prediction(
    customer_id: str | None = "ann", minutes: float | None = 1.5, at: datetime = START, **inputs: object
) -> PredictionRow:
    given = {"minutes": minutes, "calls": 3, "plan": "Yes", "joined": "2020-01-01T00:00:00Z"} | inputs
    return prediction_row(
        id=new_prediction_id(),
        at=at,
        customer_id=customer_id,
        model_version="v1",
        content_sha256="f" * 64,
        churn_probability=0.3,
        churn_prediction=False,
        base_value=None,
        explanation_scale=None,
        top_shap_features=None,
        inputs=json.dumps(given),
        source="api",
    )


def written(engine: Engine, *predictions: PredictionRow, churned: bool | None = None) -> None:
    """Write predictions; with `churned`, their outcomes become known when the horizon ends."""
    write_predictions(engine, predictions)
    if churned is not None:
        for row in predictions:
            labelled(engine, row.at + HORIZON, Label(churned, prediction_id=row.id, outcome_at=row.at + HORIZON))


def labelled(engine: Engine, at: datetime, *labels: Label) -> None:
    """Record labels at a moment of the past."""
    with engine.begin() as connection:
        write_labels(connection, labels, at)


def collected(journal: Journal, known_at: datetime = LATE, since: datetime = START) -> ProductionRows:
    return rows_from_journal(journal, SCHEMA, since=since, known_at=known_at, horizon=HORIZON)


def minutes(rows: ProductionRows) -> list[float | None]:
    return rows.table.get_column("minutes").to_list()


def test_rows_contain_inputs_and_outcome_but_no_ids_or_times(engine: Engine, journal: Journal):
    written(engine, a_prediction(minutes=None, state="KS", plan="No"), churned=True)
    written(engine, a_prediction("bob", 0.1 + 0.2, at=START + DAY), churned=False)
    rows = collected(journal)
    assert rows.table.schema == {
        "minutes": pl.Float64,
        "calls": pl.Int64,
        "state": pl.String,
        "plan": pl.String,
        "churn": pl.String,
    }
    assert rows.table.rows() == [(None, 3, "KS", "No", "left"), (0.1 + 0.2, 3, None, "Yes", "stayed")]
    assert rows.customers == ("ann", "bob")
    assert rows.at.dtype == np.int64
    assert rows.at.tolist() == [1_767_225_600_000_000, 1_767_225_600_000_000 + 86_400_000_000]
    assert encode(rows.table, SCHEMA)["state"].tolist()[0] == 1.0
    assert outcomes(rows.table, SCHEMA).tolist() == [1.0, 0.0]


def test_without_predictions_the_table_is_empty_and_has_its_columns(journal: Journal):
    rows = collected(journal)
    assert rows.table.height == rows.at.size == len(rows.customers) == rows.due == rows.labelled == 0
    assert rows.coverage is None
    assert rows.table.schema == {
        "minutes": pl.Float64,
        "calls": pl.Int64,
        "state": pl.String,
        "plan": pl.String,
        "churn": pl.String,
    }


def test_a_prediction_counts_only_after_a_whole_horizon(engine: Engine, journal: Journal):
    microsecond = timedelta(microseconds=1)
    for name, at in (("early", START - microsecond), ("first", START), ("last", START + 40 * DAY)):
        written(engine, a_prediction(name, at=at), churned=False)
    young = a_prediction("young", at=START + 40 * DAY + microsecond)
    written(engine, young)
    labelled(engine, START + 41 * DAY, Label(True, customer_id="young", outcome_at=START + 41 * DAY))
    rows = collected(journal, known_at=START + 70 * DAY)
    assert rows.customers == ("first", "last")
    assert (rows.due, rows.labelled) == (2, 2)
    assert collected(journal, known_at=START + 71 * DAY).customers == ("first", "last", "young")


def test_unknown_outcomes_are_left_out_and_counted_as_due(engine: Engine, journal: Journal):
    written(engine, a_prediction("ann"), churned=True)
    written(engine, a_prediction("bob"), a_prediction("carl"), a_prediction(None))
    # Seen before the horizon ended: they may have left since.
    labelled(engine, START + 20 * DAY, Label(False, customer_id="bob", outcome_at=START + 20 * DAY))
    rows = collected(journal)
    assert rows.customers == ("ann",)
    assert (rows.due, rows.labelled, rows.coverage) == (4, 1, 0.25)


def test_labels_and_corrections_count_only_once_they_are_recorded(engine: Engine, journal: Journal):
    row = a_prediction()
    written(engine, row)
    left = Label(True, prediction_id=row.id, outcome_at=START + 10 * DAY)
    stayed = Label(False, prediction_id=row.id, outcome_at=START + 35 * DAY)
    labelled(engine, START + 50 * DAY, left)
    labelled(engine, START + 60 * DAY, stayed)
    seen = [collected(journal, known_at=START + day * DAY) for day in (49, 50, 59, 60, 90)]
    assert [rows.table.get_column("churn").to_list() for rows in seen] == [[], ["left"], ["left"], *[["stayed"]] * 2]
    assert [rows.due for rows in seen] == [1] * 5


@pytest.mark.parametrize("chunk", [1, 2, 50_000])
def test_a_customer_appears_once_with_the_newest_labelled_prediction(
    engine: Engine, journal: Journal, monkeypatch: pytest.MonkeyPatch, chunk: int
):
    monkeypatch.setattr(pages, "PAGE", chunk)
    written(engine, a_prediction("ann", 1.0), churned=False)
    written(engine, a_prediction("bob", 2.0, at=START + 1 * DAY), churned=False)
    written(engine, a_prediction("ann", 3.0, at=START + 2 * DAY), churned=True)
    written(engine, a_prediction("ann", 4.0, at=START + 3 * DAY))
    rows = collected(journal)
    assert rows.customers == ("bob", "ann")
    assert minutes(rows) == [2.0, 3.0]
    assert rows.table.get_column("churn").to_list() == ["stayed", "left"]
    assert (rows.due, rows.labelled) == (4, 3)


@pytest.mark.parametrize("chunk", [1, 2, 50_000])
def test_without_an_id_a_customer_is_identified_by_the_inputs(
    engine: Engine, journal: Journal, monkeypatch: pytest.MonkeyPatch, chunk: int
):
    monkeypatch.setattr(pages, "PAGE", chunk)
    written(engine, a_prediction(None, 0.0), churned=False)
    written(engine, a_prediction(None, None, at=START + DAY), churned=False)
    written(engine, a_prediction(None, -0.0, at=START + 2 * DAY), churned=True)  # the first one again
    written(engine, a_prediction(None, None, at=START + 3 * DAY), churned=True)  # the second one again
    written(engine, a_prediction("0", 0.0, at=START + 4 * DAY), churned=False)  # has an id, so is somebody else
    rows = collected(journal)
    assert rows.customers == (None, None, "0")
    assert minutes(rows) == [0.0, None, 0.0]
    assert rows.table.get_column("churn").to_list() == ["left", "left", "stayed"]


def test_row_order_does_not_depend_on_the_order_of_arrival(engine: Engine, journal: Journal):
    people = [("ann", 3.0), ("bob", 1.0), ("carl", 2.0), ("dora", 1.0), ("eve", 1.0), (None, 4.0), (None, 5.0)]
    for day, order in ((0, people), (100, people[::-1])):
        for name, value in order:
            written(engine, a_prediction(name, value, at=START + day * DAY), churned=value > 1.0)
    first = collected(journal, known_at=START + 99 * DAY)
    second = collected(journal, since=START + 50 * DAY)
    assert first.customers == second.customers
    assert first.table.equals(second.table)
    assert np.ptp(first.at) == np.ptp(second.at) == 0


def test_all_models_predictions_count_and_absent_inputs_are_missing(engine: Engine, journal: Journal):
    written(engine, a_prediction("ann", state="OH"), a_prediction("bob"), churned=False)
    rows = collected(journal)
    assert sorted(rows.table.get_column("state").to_list(), key=str) == [None, "OH"]


def test_unknown_levels_are_other(engine: Engine, journal: Journal):
    written(engine, a_prediction("ann", state="Ohio"), a_prediction("bob", state=" oh"), churned=False)
    rows = collected(journal)
    assert sorted(rows.table.get_column("state").to_list()) == ["(other)", "OH"]
    checked = check_customers(rows.table, SCHEMA, "journal", keep_outcome=True)  # as the retraining checks its tables
    assert sorted(encode(checked, SCHEMA)["state"]) == [0.0, SCHEMA.by_name["state"].other]


@pytest.mark.parametrize("inputs", [{"plan": "maybe"}, {"minutes": "many"}, {"calls": 1.5}, {"calls": 1e300}], ids=str)
def test_inputs_of_another_schema_are_refused_in_one_line(engine: Engine, journal: Journal, inputs: dict[str, object]):
    written(engine, a_prediction("ann", **inputs), churned=False)
    with pytest.raises(DataError, match=r"^customers in the journal do not fit the schema .*history_days") as e:
        collected(journal)
    assert "\n" not in str(e.value)
    assert not any(str(value) in str(e.value) for value in inputs.values())


def test_memory_grows_with_customers_and_not_with_predictions(
    engine: Engine, journal: Journal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "PAGE", 1_000)
    many = [a_prediction(f"c{i % 50}", float(i), at=START + i * timedelta(seconds=1)) for i in range(20_000)]
    write_predictions(engine, many)
    labelled(
        engine, START + 50 * DAY, *(Label(False, customer_id=f"c{i}", outcome_at=START + 40 * DAY) for i in range(50))
    )
    collected(journal)  # what stays in memory after the first time is not counted
    peaks = [_peak(journal, START + seconds * timedelta(seconds=1)) for seconds in (18_000, 0)]
    rows = collected(journal)
    assert minutes(rows) == list(map(float, range(19_950, 20_000)))
    assert rows.labelled == 20_000
    assert peaks[1] < 1.5 * peaks[0]


def _peak(journal: Journal, since: datetime) -> int:
    """Bytes at most."""
    tracemalloc.start()
    try:
        collected(journal, since=since)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_outcome_counts_once_recorded_and_after_the_horizon(engine: Engine, journal: Journal):
    early, late = a_prediction("ann"), a_prediction("bob", at=START + DAY)
    write_predictions(engine, [early, late])
    labelled(engine, START + 5 * DAY, Label(True, prediction_id=early.id, outcome_at=START + 4 * DAY))
    labelled(engine, START + 50 * DAY, Label(True, prediction_id=late.id, outcome_at=START + 4 * DAY))
    assert collected(journal).known.tolist() == [microseconds(START + HORIZON), microseconds(START + 50 * DAY)]


def test_rows_lack_personal_columns(engine: Engine, journal: Journal):
    """They are null in the journal, although the table requires a value in each row."""
    age = Column(name="age", kind="integer", required=False, personal=True)
    schema = SCHEMA.model_copy(update={"columns": (age, *SCHEMA.columns)})
    written(engine, a_prediction(age=None), churned=True)
    rows = rows_from_journal(journal, schema, since=START, known_at=LATE, horizon=HORIZON)
    assert rows.table.columns == ["minutes", "calls", "state", "plan", "churn"]
    assert rows.table.height == 1
