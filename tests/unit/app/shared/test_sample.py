"""Samples for the Analysis page: a model's reference customers, and production customers with outcomes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from churnops.app.shared.sample import drivers, variables
from churnops.data.preprocess import Imputer
from churnops.decision import sample as samples
from churnops.decision.sample import Sample, may_have_outcomes, read_production, read_reference
from churnops.errors import DataError
from churnops.features.build import Feature
from churnops.journal import Journal, Label, open_database
from churnops.journal import columns as pages
from churnops.journal.predictions import write_predictions
from churnops.model import Bundle, LinearModel
from churnops.pipelines.run_all import RunSummary
from churnops.registry.reference import reference_path
from churnops.schema import Column, Schema
from churnops.settings import Settings
from tests.support.app_sample import DAY, HORIZON, NOW, asked, learnt


@pytest.fixture(scope="module")
def bundle(project: tuple[Settings, RunSummary]) -> Bundle:
    return project[1].evaluated.bundle


@pytest.fixture(scope="module")
def reference(project: tuple[Settings, RunSummary], bundle: Bundle) -> Path:
    return reference_path(project[0].root / "models", bundle.content_sha256)


@pytest.fixture(scope="module")
def sample(reference: Path, bundle: Bundle) -> Sample:
    return read_reference(reference, bundle.schema)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    yield engine
    engine.dispose()


def test_the_reference_sample_has_inputs_outcomes_and_scores(sample: Sample, bundle: Bundle):
    assert sample.rows > 500
    assert sample.enough
    assert set(sample.columns) >= {column.name for column in bundle.schema.model_inputs}
    assert 0 < sample.score.min() < sample.score.max() <= 1


@pytest.mark.parametrize("damage", ["cut", "no outcome", "score", "outcome", "choice", "text", "empty", "input"])
def test_a_damaged_sample_is_refused_in_one_line_with_what_to_do(reference, bundle, tmp_path, damage):
    table, path = pl.read_parquet(reference), tmp_path / "sample.parquet"
    target = bundle.schema.target.name
    match damage:
        case "no outcome":
            table = table.drop(target)
        case "score":
            table = table.with_columns(pl.lit(1.5).alias("churn_probability"))
        case "outcome":
            table = table.with_columns(pl.lit(2.0).alias(target))
        case "choice":
            table = table.with_columns(pl.lit(7.0).alias("international_plan"))
        case "text":
            table = table.with_columns(pl.lit("<b>").alias("total_day_minutes"))
        case "empty":
            table = table[:0]
        case "input":
            table = table.drop("total_day_minutes")
    table.write_parquet(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(DataError, match="is damaged: train again") as caught:
        read_reference(path, bundle.schema)
    assert "\n" not in str(caught.value)


def test_production_customers_have_outcomes_older_than_the_horizon(engine: Engine, bundle: Bundle):
    journal = Journal(engine, label_horizon=HORIZON)
    due, young, unknown = asked(bundle, [60, 50]), asked(bundle, [10]), asked(bundle, [55])
    write_predictions(engine, [*due, *young, *unknown])
    learnt(journal, due, [True, False])
    journal.record_labels([Label(churned=True, prediction_id=young[0].id, outcome_at=NOW - 5 * DAY)])

    found = read_production(journal, bundle, datetime.now(UTC), HORIZON)

    assert found.outcome.tolist() == [1, 0]
    assert found.score.tolist() == [0.6, 0.5]
    for name, values in bundle.probes.items():
        assert np.array_equal(found.columns[name], values[[0, 0]], equal_nan=True)


@pytest.mark.parametrize("page", [1, 20_000])
def test_only_each_customers_last_prediction_of_this_model_counts(
    engine: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, page: int
):
    monkeypatch.setattr(pages, "PAGE", page)
    journal = Journal(engine, label_horizon=HORIZON)
    other = replace(bundle, threshold=0.123)
    mine, others = asked(bundle, [60, 50, 40], customer="c1"), asked(other, [45])
    write_predictions(engine, [*mine, *others])
    learnt(journal, [*mine, *others], [True, False, True, True])

    found = read_production(journal, bundle, datetime.now(UTC), HORIZON)

    assert (found.outcome.tolist(), found.score.tolist()) == ([1], [0.4])


def test_the_newest_with_an_outcome_are_taken(engine: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(samples, "NEWEST", 3)
    journal = Journal(engine, label_horizon=HORIZON)
    rows = asked(bundle, [90, 80, 70, 60, 50])
    write_predictions(engine, rows)
    learnt(journal, rows, [True] * 5)

    assert read_production(journal, bundle, datetime.now(UTC), HORIZON).score.tolist() == [0.7, 0.6, 0.5]


@pytest.mark.parametrize(("most", "found"), [(12, [0.9, 0.8]), (6, [0.8]), (4, [])])
def test_late_outcomes_are_searched_further_back_up_to_a_limit(
    engine: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, most: int, found: list[float]
):
    monkeypatch.setattr(samples, "STEP", 2)
    monkeypatch.setattr(samples, "MAX_READ", most)
    journal = Journal(engine, label_horizon=HORIZON)
    rows = asked(bundle, [90, 80, 70, 65, 60, 55, 50])
    write_predictions(engine, rows)
    learnt(journal, rows[:2], [True, False])

    assert read_production(journal, bundle, datetime.now(UTC), HORIZON).score.tolist() == found


def test_all_rows_of_a_file_with_one_time_are_read(engine: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(samples, "STEP", 2)
    journal = Journal(engine, label_horizon=HORIZON)
    older, newer = asked(bundle, [60] * 5), asked(bundle, [50])
    write_predictions(engine, [*older, *newer])
    learnt(journal, [*older, *newer], [True] * 6)

    assert read_production(journal, bundle, datetime.now(UTC), HORIZON).score.tolist() == [0.6] * 5 + [0.5]


def test_a_clock_step_back_keeps_a_customers_newest_outcome(
    engine: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(samples, "STEP", 1)
    journal = Journal(engine, label_horizon=HORIZON)
    rows = asked(bundle, [60, 50, 40], customer="c1")
    write_predictions(engine, rows)
    learnt(journal, rows, [True, True, False])

    found = read_production(journal, bundle, datetime.now(UTC), HORIZON)

    assert (found.outcome.tolist(), found.score.tolist()) == ([0], [0.4])


def test_an_empty_journal_has_no_customers(engine: Engine, bundle: Bundle):
    journal = Journal(engine, label_horizon=HORIZON)
    found = read_production(journal, bundle, datetime.now(UTC), HORIZON)

    assert (found.rows, found.enough) == (0, False)
    assert not may_have_outcomes(journal, datetime.now(UTC), HORIZON)


def test_only_predictions_older_than_the_horizon_may_have_outcomes(engine: Engine, bundle: Bundle):
    journal = Journal(engine, label_horizon=HORIZON)
    write_predictions(engine, asked(bundle, [10] * 300))
    assert not may_have_outcomes(journal, datetime.now(UTC), HORIZON)
    write_predictions(engine, asked(bundle, [31] * 200))
    assert may_have_outcomes(journal, datetime.now(UTC), HORIZON)


@pytest.mark.parametrize(("leavers", "enough"), [(0, False), (1, True), (200, False)])
def test_enough_is_200_customers_of_both_outcomes(leavers: int, enough: bool):
    outcome = (np.arange(200) < leavers).astype(float)

    assert Sample({}, outcome, outcome).enough == enough
    assert not Sample({}, outcome[1:], outcome[1:]).enough


def test_customers_are_identified_by_inputs_and_by_derived_values(sample: Sample, bundle: Bundle):
    found = {variable.name: variable for variable in variables(sample, bundle)}

    assert found["international_plan"].choices == ("No", "Yes")
    assert found["total_charge"].title == "Total charge (computed)"
    minutes = sample.columns
    expected = (
        0.17 * minutes["total_day_minutes"]
        + 0.085 * minutes["total_eve_minutes"]
        + 0.045 * minutes["total_night_minutes"]
        + 0.27 * minutes["total_intl_minutes"]
    )
    assert np.allclose(found["total_charge"].values, expected)
    assert found["many_service_calls"].choices == ("No", "Yes")


def test_variables_have_the_labels_and_units_that_are_declared(sample: Sample, bundle: Bundle):
    words = {"label": "Talk", "unit": "min"}
    columns = tuple(c.model_copy(update=words if c.name == "total_day_minutes" else {}) for c in bundle.schema.columns)
    features = tuple(replace(f, label="Bill", unit="USD") if f.name == "total_charge" else f for f in bundle.features)
    labelled = replace(bundle, schema=Schema(columns=columns), features=features)
    found = {variable.name: variable for variable in variables(sample, labelled)}
    assert (found["total_day_minutes"].title, found["total_day_minutes"].unit) == ("Talk", "min")
    assert (found["total_charge"].title, found["total_charge"].unit) == ("Bill (computed)", "USD")


def test_columns_with_one_value_are_left_out(sample: Sample, bundle: Bundle):
    columns = {**sample.columns, "total_day_calls": np.full(sample.rows, 100.0)}
    columns["state"] = np.full(sample.rows, np.nan)

    found = {variable.name for variable in variables(replace(sample, columns=columns), bundle)}

    assert not found & {"total_day_calls", "state"}


def test_drivers_are_exact_contributions_with_the_largest_first(sample: Sample, bundle: Bundle):
    found = drivers(sample, bundle, limit=100, seed=1)
    again = drivers(sample, bundle, limit=100, seed=1)
    picked = np.random.default_rng(1).permutation(sample.rows)[:100]
    explained = bundle.explain({name: values[picked] for name, values in sample.columns.items()})

    assert found.contributions.shape == (100, len(found.inputs))
    assert np.array_equal(found.contributions, again.contributions)
    assert (np.diff(found.importance) <= 0).all()
    place = bundle.selected.index(found.inputs[0].name)
    assert np.array_equal(found.contributions[:, 0], explained.contributions[:, place])
    assert found.scale == bundle.explanation_scale


def test_a_categorys_choices_are_summed_up_to_one_driver(sample: Sample, bundle: Bundle):
    region = Column(name="region", kind="category", choices=("a", "b", "c"))
    made = [Feature(f"region={choice}", f'region == "{choice}"', "") for choice in "bc"]
    model = replace(
        bundle,
        schema=Schema(columns=(*bundle.schema.columns, region)),
        features=(*made, *bundle.features),
        selected=("region=b", "region=c", "total_charge"),
        imputer=Imputer({**bundle.imputer.constants, "region": 0.0}),
        estimator=LinearModel(np.array([1.0, 3.0, 0.001]), -1.0, np.array([0.25, 0.5, 60.0])),
    )
    customers = replace(sample, columns={**sample.columns, "region": np.arange(sample.rows) % 3.0})
    found = drivers(customers, model, limit=50, seed=1)

    assert [variable.name for variable in found.inputs] == ["region", "total_charge"]
    assert found.inputs[0].choices == ("a", "b", "c")
    given = np.array([-0.25 - 1.5, 0.75 - 1.5, -0.25 + 1.5])  # coefficient × (value − mean), of both choices
    assert np.allclose(found.contributions[:, 0], given[found.inputs[0].values.astype(int)])
    assert found.scale == "log-odds"
