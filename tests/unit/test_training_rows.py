"""Training rows that come back as production customers are counted, and enough of them are an alert."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from churnops.alerting.alarms import alarms
from churnops.data.identity import identify
from churnops.data.read import encode, outcomes
from churnops.data.validate import validate_data
from churnops.journal import open_database
from churnops.journal.cycles import CycleLog
from churnops.model import Bundle
from churnops.monitoring import ModelMonitor, Report
from churnops.monitoring.batch import Batch
from churnops.monitoring.collect import batch_from_columns
from churnops.monitoring.training_rows import TrainingRows, count_training_rows
from churnops.registry.trained_on import save_trained_on
from churnops.settings import Settings, load_settings
from churnops.training.train import TrainedModels
from tests.support.projects import LATER, RAW, write_project


@pytest.fixture(scope="module")
def bundle(trained: TrainedModels) -> Bundle:
    return trained.refit.with_metadata(metrics={}, lineage={"fits": {"deployed": {"rows": 3333}}})


@pytest.fixture
def project(tmp_path: Path, bundle: Bundle, telecom_columns) -> Settings:
    settings = load_settings(write_project(tmp_path))
    names = [column.name for column in settings.table.model_inputs]
    identities = identify(telecom_columns, [None] * 3333, names)
    save_trained_on(settings.path("models"), bundle.content_sha256, identities)
    return settings


@pytest.fixture
def mixed(project: Settings, bundle: Bundle) -> Batch:
    """Later customers; the first 312 of 1,667 are replaced by rows that the model was trained on."""
    validated = validate_data([RAW[1]], [LATER], project.table)
    (raw,), (later,) = validated.raw.values(), validated.production.values()
    new, outcome = encode(later, project.table), outcomes(later, project.table)
    old = encode(raw, project.table)
    columns = {name: np.concatenate([old[name][:312], values[312:]]) for name, values in new.items()}
    return batch_from_columns(columns, outcome, bundle, "weekly", acts_as="weekly")


def check(settings: Settings, bundle: Bundle, batch: Batch) -> Report:
    engine = open_database("sqlite:///:memory:")
    report = ModelMonitor(settings, CycleLog(engine)).check_batch(bundle, batch, look=1)
    engine.dispose()
    return report


def test_training_rows_in_a_batch_are_counted_and_an_alert(project: Settings, bundle: Bundle, mixed: Batch):
    report = check(project, bundle, mixed)
    words = "312 of 1,667 rows are rows the model was trained on: they say nothing about new customers"
    document = report.to_json()
    assert document["training_rows"] == 312
    expected = {"name": "training_rows", "severity": "warning", "big": True, "fired": True, "reason": words}
    assert document["cautions"][-1] == expected
    (alarm,) = [alarm for alarm in alarms(report, "")[0] if alarm.subject == "training_rows"]
    assert (alarm.severity, alarm.facts[0]) == ("warning", f"{words}.")
    assert document["recommend_retraining"]["value"] is False


def test_new_customers_clear_the_alert(project: Settings, bundle: Bundle, mixed: Batch):
    new = {name: values[312:] for name, values in mixed.columns.items()}
    report = check(
        project, bundle, replace(batch_from_columns(new, mixed.outcome[312:], bundle, "x"), acts_as="weekly")
    )
    assert report.training_rows == 0
    assert "training_rows" in alarms(report, "")[1]


def test_unknown_training_rows_are_unknown(project: Settings, bundle: Bundle, mixed: Batch):
    for path in project.path("models").rglob("*.npz"):
        path.write_bytes(b"damaged")
    report = check(project, bundle, mixed)
    assert (report.training_rows, report.cautions[-1].fired) == (None, None)
    assert "is damaged" in report.cautions[-1].reason
    assert count_training_rows(bundle, mixed, project.path("elsewhere")).caution(0.01).fired is None


def test_few_rows_and_equal_rows_by_chance_are_no_alert():
    assert TrainingRows(20, 20).caution(0.01).fired is None  # fewer than 30 customers
    few = TrainingRows(40, 1000).caution(0.01)
    assert (few.big, few.reason) == (False, "40 of 1,000 rows are rows the model was trained on")
    usual = TrainingRows(500, 1000, usual=0.6).caution(0.01)
    assert (usual.big, usual.reason.endswith(", as expected by chance")) == (False, True)
    assert TrainingRows(700, 1000, usual=0.6).caution(0.01).fired is True


def test_customers_with_few_different_values_are_equal_by_chance(rng: np.random.Generator, project: Settings, bundle):
    """A model on a table of 60 different rows: new customers are equal to training rows, and that is no alert."""
    names = [column.name for column in bundle.schema.model_inputs]
    rows = {name: rng.integers(0, 2, 4000).astype(float) if i < 6 else np.zeros(4000) for i, name in enumerate(names)}
    old, new = ({name: values[part] for name, values in rows.items()} for part in (slice(3333), slice(3333, None)))
    save_trained_on(project.path("models"), bundle.content_sha256, identify(old, [None] * 3333, names))
    batch = Batch(new, np.empty(0), np.full(667, np.nan), None, "x")  # type: ignore[arg-type]
    counted = count_training_rows(bundle, batch, project.path("models"))
    assert counted.count == 667
    assert counted.caution(0.01).fired is False


@pytest.fixture
def few(project: Settings, bundle: Bundle) -> Batch:
    """40 later customers."""
    validated = validate_data([RAW[1]], [LATER], project.table)
    (later,) = validated.production.values()
    columns = {name: values[:40] for name, values in encode(later, project.table).items()}
    return batch_from_columns(columns, outcomes(later, project.table)[:40], bundle, "weekly", acts_as="weekly")


def copies_of(batch: Batch, bundle: Bundle, times: int) -> Batch:
    columns = {name: np.tile(values, times) for name, values in batch.columns.items()}
    return batch_from_columns(columns, np.tile(batch.outcome, times), bundle, "weekly", acts_as="weekly")


def test_rows_multiplied_by_a_join_count_once(project: Settings, bundle: Bundle, few: Batch):
    once, often = check(project, bundle, few), check(project, bundle, copies_of(few, bundle, 50))
    assert (often.rows, often.repeated_rows) == (40, 1960)
    assert often.feature_drift == once.feature_drift
    assert often.performance.decline == once.performance.decline
    assert not often.recommendation.value


def test_equal_rows_with_another_outcome_are_other_customers(project: Settings, bundle: Bundle, few: Batch):
    columns = {name: np.tile(values, 2) for name, values in few.columns.items()}
    both = batch_from_columns(columns, np.append(few.outcome, 1 - few.outcome), bundle, "weekly", acts_as="weekly")
    assert check(project, bundle, both).rows == 80


def test_a_feed_in_which_every_column_is_broken_is_no_copy(project: Settings, bundle: Bundle, few: Batch):
    columns = {name: np.repeat(values[:1], 200) for name, values in few.columns.items()}
    broken = batch_from_columns(columns, np.full(200, np.nan), bundle, "weekly", acts_as="weekly")
    report = check(project, bundle, broken)
    assert report.rows == 200
    assert report.cautions[0].fired


def test_equal_customers_are_usual_in_a_table_with_few_values(tmp_path: Path, bundle: Bundle, few: Batch):
    settings = load_settings(write_project(tmp_path))
    names = [column.name for column in settings.table.model_inputs]
    trained_on = {name: np.tile(values, 3333 // 40) for name, values in few.columns.items()}
    identities = identify(trained_on, [None] * (40 * (3333 // 40)), names)
    save_trained_on(settings.path("models"), bundle.content_sha256, identities)
    assert check(settings, bundle, copies_of(few, bundle, 50)).rows == 2000
