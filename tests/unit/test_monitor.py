"""Step 7: drift, performance and the four triggers; every threshold of the settings changes a verdict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.data.profile import ColumnProfile
from churnops.data.read import encode, outcomes
from churnops.data.validate import validate_data
from churnops.model import Bundle
from churnops.model.bundle import SCORE
from churnops.monitoring import ModelMonitor
from churnops.monitoring.drift import chi_square_test, ks_test
from churnops.schema import Columns
from churnops.settings import Settings, load_settings
from churnops.training.train import TrainedModels
from tests.conftest import LATER, RAW, quick, write_project

Batch = tuple[Columns, NDArray[np.float64]]


@pytest.fixture(scope="module")
def later(settings: Settings) -> Batch:
    (table,) = validate_data(RAW, [LATER], settings.table).production.values()
    return encode(table, settings.table), outcomes(table, settings.table)


def monitor(folder: Path, **monitoring: Any) -> ModelMonitor:
    def change(document: dict[str, Any]) -> None:
        quick(document)
        document["monitoring"] |= monitoring

    return ModelMonitor(load_settings(write_project(folder, change)))


def shifted(columns: Columns, names: list[str], factor: float) -> dict[str, NDArray[np.float64]]:
    return {name: values * factor if name in names else values for name, values in columns.items()}


def test_customers_like_those_of_training_call_for_nothing(tmp_path: Path, trained: TrainedModels, later: Batch):
    """Also the score trigger: its reference are out-of-fold scores, not those of rows the model was fitted on."""
    for model in trained.models.values():
        report = monitor(tmp_path).check(model.bundle, *later)
        assert report.reasons == ()
        assert report.performance.coverage.labelled == report.rows == 1667
    assert monitor(tmp_path).check(trained.refit, *later).reasons == ()


MINUTES = ["total_day_minutes", "total_eve_minutes", "total_night_minutes", "total_intl_minutes", "account_length"]


def test_shifted_customers_are_noticed(tmp_path: Path, trained: TrainedModels, later: Batch):
    columns, outcome = later
    report = monitor(tmp_path).check(trained.refit, shifted(columns, MINUTES, 1.2), outcome)
    assert {c.name for c in report.columns if c.drifted} >= set(MINUTES)
    assert report.drift_rate is not None
    assert report.drift_rate > 0.3
    assert any(reason.startswith("feature drift: ") for reason in report.reasons)
    assert any(reason.startswith("score drift: ") for reason in report.reasons)


def change_threshold(name: str, value: float, fired: str) -> Any:
    return pytest.param(name, value, fired, id=name)


@pytest.mark.parametrize(
    ("name", "value", "trigger"),
    [
        change_threshold("performance_threshold", 0.99, "performance"),
        change_threshold("drift_threshold", 0.999, "feature drift"),
        change_threshold("drift_rate_threshold", 0.0, "feature drift"),
    ],
)
def test_each_threshold_changes_the_verdict(
    tmp_path: Path, trained: TrainedModels, later: Batch, name: str, value: float, trigger: str
):
    columns = shifted(later[0], ["total_night_calls"], 1.05)  # one column drifts, far from 30 % of them
    assert monitor(tmp_path).check(trained.refit, columns, later[1]).reasons == ()
    report = monitor(tmp_path, **{name: value}).check(trained.refit, columns, later[1])
    assert any(reason.startswith(trigger) for reason in report.reasons)
    assert report.recommend_retraining


def test_changed_labels_are_noticed(tmp_path: Path, trained: TrainedModels, later: Batch):
    columns, outcome = later
    report = monitor(tmp_path).check(trained.refit, columns, 1.0 - outcome)
    assert [reason.partition(":")[0] for reason in report.reasons] == ["performance", "label drift"]


@pytest.mark.parametrize(
    "outcome",
    [lambda y: np.full(y.shape, np.nan), lambda y: np.zeros(y.shape), lambda y: np.where(y == 1.0, np.nan, y)],
    ids=["no label", "one class", "only stayers known"],
)
def test_a_missing_label_is_never_no_churn(
    tmp_path: Path, trained: TrainedModels, later: Batch, outcome: Callable[[NDArray[np.float64]], NDArray[np.float64]]
):
    report = monitor(tmp_path).check(trained.refit, later[0], outcome(later[1]))
    assert report.performance.decline.below is None
    assert report.performance.evaluation is None
    assert "of each are needed" in report.performance.decline.reason


def test_partly_labelled_batches_are_judged_on_what_is_known(tmp_path: Path, trained: TrainedModels, later: Batch):
    columns, outcome = later
    known = np.where(np.arange(outcome.size) < 800, outcome, np.nan)
    report = monitor(tmp_path).check(trained.refit, columns, known)
    whole = monitor(tmp_path).check(trained.refit, {n: v[:800] for n, v in columns.items()}, outcome[:800])
    assert report.performance.coverage.labelled == 800
    assert report.performance.evaluation == whole.performance.evaluation


def test_no_customers_no_verdict(tmp_path: Path, trained: TrainedModels):
    report = monitor(tmp_path).check(trained.refit, {}, np.empty(0))
    assert report.drift_rate is None
    assert {test.test for test in (*report.columns, report.prediction_drift, report.target_drift)} == {"cannot tell"}
    assert not report.recommend_retraining
    json.dumps(report.to_json(), allow_nan=False)


def test_the_report_is_written_whole_under_its_name(tmp_path: Path, trained: TrainedModels, later: Batch):
    cycle = monitor(tmp_path).run(trained.refit, *later, source="later customers")
    assert cycle.path.parent == tmp_path / "monitoring"
    assert cycle.path.match("monitoring_report_*.json")
    document = json.loads(cycle.path.read_text())
    assert {"timestamp", "performance", "feature_drift", "prediction_drift", "target_drift"} <= set(document)
    assert document["recommend_retraining"] == {"value": False, "reasons": []}
    assert {"name", "statistic", "p_value", "effect"} <= set(document["feature_drift"]["columns"][0])
    assert document["performance"]["metrics"]["roc_auc"]["value"] > 0.9
    assert len(list(cycle.path.parent.iterdir())) == 1
    assert cycle.metrics["drift_rate"] == document["feature_drift"]["drift_rate"]


def test_few_values_cannot_tell():
    few, many = ColumnProfile.fit(np.arange(29.0)), ColumnProfile.fit(np.arange(300.0))
    for test in (ks_test, chi_square_test):
        assert test("x", many, few, 0.05).drifted is None
        assert test("x", few, many, 0.05).reason == "29 values, at least 30 are needed"


def test_a_new_choice_counts_as_drift_and_one_choice_as_none():
    reference = ColumnProfile.fit(np.repeat([0.0, 1.0], 100))
    found = chi_square_test("x", reference, ColumnProfile.fit(np.repeat([0.0, 1.0, 2.0], 70)), 0.05)
    assert found.drifted
    assert found.effect is not None
    assert np.isfinite(found.effect)
    constant = ColumnProfile.fit(np.zeros(50))
    assert chi_square_test("x", constant, constant, 0.05).p_value == 1.0


def test_derived_columns_follow_the_columns_they_come_from(trained: TrainedModels, prepared: PreparedTable):
    """A shift of the minutes reaches the bill, and through it the score: nothing derived is stored with a customer."""
    bundle: Bundle = trained.refit
    columns = {name: values[:50] for name, values in prepared.columns.items()}
    more = dict(columns, total_day_minutes=columns["total_day_minutes"] + 100)
    place = bundle.selected.index("total_charge")
    bills = [bundle.matrix(bundle.imputer(c))[:, place] for c in (columns, more)]
    np.testing.assert_allclose(bills[1] - bills[0], 17.0)


def test_scores_a_few_hundredths_away_are_no_drift(tmp_path: Path, trained: TrainedModels, later: Batch):
    """A refit places most customers on another score than the fits out of fold did: significant, and nothing."""
    report = monitor(tmp_path).check(trained.refit, *later)
    exact = ks_test(
        "score", trained.refit.reference[SCORE], ColumnProfile.fit(trained.refit.predict(later[0]).probability), 0.05
    )
    assert exact.drifted
    assert not report.prediction_drift.drifted
    many = ColumnProfile(np.array([0.0, 1.0]), np.array([900_000, 100_000]), 0)
    more = ColumnProfile(np.array([0.0, 1.0]), np.array([890_000, 110_000]), 0)
    assert ks_test("score", many, more, 0.05).drifted
    assert not ks_test("score", many, more, 0.05, floor=0.1).drifted
