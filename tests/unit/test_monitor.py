"""ModelMonitor on real customers: nothing where nothing changed, the right trigger where something did."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from churnops.alerting.alarms import alarms
from churnops.data.preprocess import PreparedTable
from churnops.data.read import encode, outcomes
from churnops.data.validate import ValidationError, validate_data
from churnops.journal import open_database
from churnops.journal.cycles import CycleLog
from churnops.journal.decoding import decode_inputs
from churnops.model import Bundle
from churnops.monitoring import ModelMonitor, Report
from churnops.monitoring.batch import Batch, Window
from churnops.monitoring.collect import batch_from_columns, batch_from_file, batch_from_table
from churnops.monitoring.document import ReportDocument
from churnops.monitoring.page import report_page
from churnops.pipelines.run_monitoring import _retraining
from churnops.pipelines.sources import BatchSource
from churnops.schema import Columns
from churnops.settings import Settings, load_settings
from churnops.training.train import TrainedModels
from tests.support.journals import packed_inputs
from tests.support.projects import LATER, RAW, quick, write_project

Customers = tuple[Columns, NDArray[np.float64]]
MINUTES = ["total_day_minutes", "total_eve_minutes", "total_night_minutes", "total_intl_minutes", "account_length"]


@pytest.fixture(scope="module")
def later(settings: Settings) -> Customers:
    (table,) = validate_data(RAW, [LATER], settings.table).production.values()
    return encode(table, settings.table), outcomes(table, settings.table)


@pytest.fixture
def log() -> Iterator[CycleLog]:
    engine = open_database("sqlite:///:memory:")
    yield CycleLog(engine)
    engine.dispose()


Check = Callable[..., Report]


@pytest.fixture
def check(tmp_path: Path, trained: TrainedModels, log: CycleLog) -> Check:
    """Check customers with the refit and changed settings."""
    promised = {"roc_auc": {"value": 0.92, "low": 0.88, "high": 0.95}}
    held_out = {
        "metrics": promised,
        "rows": 667,
        "threshold": 0.5,
        "confidence": 0.95,
        "confusion": {"tn": 565, "fp": 5, "fn": 12, "tp": 85},
    }
    bundle = trained.refit.with_metadata(metrics={"held_out": held_out}, lineage={})

    def run(
        columns: Columns,
        outcome: NDArray[np.float64],
        *,
        model: Bundle = bundle,
        look: int = 1,
        window: Window | None = None,
        **monitoring: Any,
    ) -> Report:
        def change(document: dict[str, Any]) -> None:
            quick(document)
            document["monitoring"] |= monitoring

        monitor = ModelMonitor(load_settings(write_project(tmp_path, change)), log)
        batch = replace(batch_from_columns(columns, outcome, model, "later"), window=window)
        return monitor.check_batch(model, batch, look=look)

    return run


def shifted(columns: Columns, names: list[str], factor: float) -> dict[str, NDArray[np.float64]]:
    return {name: values * factor if name in names else values for name, values in columns.items()}


def fired(report: Report) -> list[str]:
    return [trigger.name for trigger in report.recommendation.triggers if trigger.fired]


def test_unchanged_customers_cause_no_recommendation(check: Check, trained: TrainedModels, later: Customers):
    """Also the score trigger: its reference are out-of-fold scores, not those of rows the model was fitted on."""
    for model in (*(trained.models[name].bundle for name in trained.models), trained.refit):
        report = check(*later, model=model)
        assert report.recommendation.reasons == ()
        assert report.performance.coverage.labelled == report.rows == 1667


BREAKS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], str]] = {
    "empty": (lambda values: np.full_like(values, np.nan), "is empty"),
    "half empty": (lambda values: np.where(np.arange(values.size) % 5 > 1, np.nan, values), "is empty in 60% of"),
    "constant": (lambda values: np.full_like(values, np.median(values)), "has the same value in every row"),
    "another unit": (lambda values: values * 60, "has its unit changed?"),
    "another choice": (lambda values: np.full_like(values, 10_000.0), ""),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize(("name", "severity"), [("total_day_minutes", "critical"), ("total_night_calls", "warning")])
def test_one_broken_column_is_an_alert_and_no_reason_to_retrain(
    check: Check, later: Customers, how: str, name: str, severity: str
):
    columns, outcome = later
    change, words = BREAKS[how]
    report = check({**columns, name: change(columns[name])}, np.full_like(outcome, np.nan))
    (caution,) = [caution for caution in report.cautions if caution.fired]
    assert (caution.name, caution.severity) == ("broken_columns", severity)
    assert caution.reason.startswith("Total day minutes" if severity == "critical" else "Total night calls")
    assert words in caution.reason
    firing, _ = alarms(replace(report, acts_as="live"), "")
    (alarm,) = [alarm for alarm in firing if alarm.subject == "broken_columns"]
    assert (alarm.severity, alarm.title) == (severity, "Data about customers is broken")
    assert "feature_drift" not in fired(report)
    document = report.to_json()
    assert document["cautions"][0]["name"] == "broken_columns"
    assert report.summary()["cautions"]["broken_columns"] is True


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("name", ["total_day_minutes", "total_intl_minutes", "total_night_calls"])
def test_a_broken_column_in_a_file_is_one_alert_and_no_retraining(check: Check, later: Customers, how: str, name: str):
    """Also if scores and predictions are wrong because of it: a model trained on the broken column would be worse."""
    columns, outcome = later
    report = check({**columns, name: BREAKS[how][0](columns[name])}, outcome)
    firing, _ = alarms(replace(report, acts_as="weekly"), "")
    assert [alarm.subject for alarm in firing] == ["broken_columns"]
    assert (report.recommendation.value, report.recommendation.reasons) == (False, ())


def test_an_earlier_decline_is_not_explained_by_a_broken_column(check: Check, later: Customers):
    columns, outcome = later
    broken = {**columns, "total_day_minutes": np.full_like(outcome, 180.0)}
    now = datetime.now(UTC)
    report = check(broken, outcome[::-1], window=(now - timedelta(days=7), now))
    assert fired(report) == ["performance"]
    assert report.cautions[0].fired


def test_many_broken_columns_are_drift_and_recommend_retraining(check: Check, later: Customers):
    columns, outcome = later
    report = check(shifted(columns, MINUTES, 60), outcome)
    assert "feature_drift" in fired(report)
    assert report.recommendation.value


def test_a_broken_column_without_enough_evidence_keeps_the_alert(check: Check, later: Customers):
    """At a late look, 31 customers are too few to be certain that half of a column is missing; the alarm stays."""
    columns, _ = later
    few = {name: values[:31].copy() for name, values in columns.items()}
    few["total_day_minutes"][:17] = np.nan
    report = check(few, np.full(31, np.nan), look=10**9, false_alarm_budget=1e-40)
    caution = report.cautions[0]
    assert (caution.name, caution.big, caution.fired) == ("broken_columns", True, False)
    firing, clear = alarms(replace(report, acts_as="live"), "")
    assert "broken_columns" not in (*clear, *(alarm.subject for alarm in firing))
    assert report.summary()["cautions"]["broken_columns"] is None


def test_sound_columns_clear_the_alert(check: Check, later: Customers):
    report = check(*later)
    assert [caution.fired for caution in report.cautions] == [False] * 3 + [None]  # training rows: unknown
    firing, clear = alarms(replace(report, acts_as="live"), "")
    assert not firing
    assert {"broken_columns", "wrong_predictions"} <= set(clear)


def test_few_customers_leave_columns_unknown(check: Check, later: Customers):
    columns, outcome = later
    report = check({name: values[:20] for name, values in columns.items()}, outcome[:20])
    assert [caution.fired for caution in report.cautions] == [None] * 4


def test_more_wrong_predictions_are_a_warning(check: Check, later: Customers):
    """Errors rise from 3 to 7 %: a threshold of performance that is still met keeps this from being a decline."""
    columns, outcome = later
    worse = np.random.default_rng(0).permutation(outcome.size)[: outcome.size // 5]
    outcome = outcome.copy()
    outcome[worse] = outcome[np.roll(worse, 1)]
    report = check(columns, outcome, max_decline=0.4, performance_threshold=None)
    assert fired(report) == []
    firing, _ = alarms(replace(report, acts_as="live"), "")
    (alarm,) = firing
    assert (alarm.subject, alarm.severity) == ("wrong_predictions", "warning")
    assert "predictions are wrong" in alarm.facts[0]


def test_a_performance_alarm_names_the_wrong_predictions_itself(check: Check, later: Customers):
    columns, outcome = later
    report = check(columns, 1.0 - outcome)
    firing, clear = alarms(replace(report, acts_as="live"), "")
    subjects = [alarm.subject for alarm in firing]
    assert "performance" in subjects
    assert "wrong_predictions" not in (*subjects, *clear)


@pytest.mark.parametrize("look", [1, 100])
def test_shifted_customers_are_noticed_at_any_look(check: Check, later: Customers, look: int):
    columns, outcome = later
    report = check(shifted(columns, MINUTES, 1.2), outcome, look=look)
    assert set(report.feature_drift.drifted) >= set(MINUTES)
    assert report.feature_drift.drift_rate is not None
    assert report.feature_drift.drift_rate > 0.3
    assert "feature_drift" in fired(report)
    assert "prediction_drift" in fired(report)
    assert report.recommendation.value


def test_columns_that_others_determine_count_once(check: Check, later: Customers):
    found = check(*later).feature_drift
    linked = {column.name: column.linked_to for column in found.columns if column.linked_to}
    assert linked["total_day_charge"] == "total_day_minutes"
    assert linked["voice_mail_plan"] == "number_vmail_messages"
    assert found.units == len(found.columns) - len(linked)


@pytest.mark.parametrize(
    ("setting", "value", "trigger"),
    [
        ("performance_threshold", 0.99, "performance"),
        ("max_decline", 0.0001, "performance"),
        ("drift_rate_threshold", 0.0, "feature_drift"),
        ("drift_threshold", 1e-300, "-feature_drift"),
        ("min_distance", 0.9, "-feature_drift"),
        ("correction", "none", "target_drift"),
        ("false_alarm_budget", 1e-300, "-feature_drift"),
    ],
)
def test_each_setting_changes_the_verdict(check: Check, later: Customers, setting: str, value: Any, trigger: str):
    """A trigger is added, or removed if it has a minus, when only this setting changes."""
    columns, outcome = later
    name = trigger.removeprefix("-")
    if name == "feature_drift" and trigger.startswith("-"):
        columns = shifted(columns, MINUTES, 1.2)
    elif name == "feature_drift":
        columns = shifted(columns, ["total_night_calls"], 1.15)  # one column, far from 30 % of them
    elif name == "target_drift":  # four points more churn: significant by the plain rule, and small
        stayed = np.flatnonzero(outcome == 0.0)
        outcome = outcome.copy()
        outcome[stayed[: outcome.size // 25]] = 1.0
    else:
        worse = np.random.default_rng(0).permutation(outcome.size)[: outcome.size // 5]
        outcome = outcome.copy()
        outcome[worse] = outcome[np.roll(worse, 1)]  # as many churners, others
    before = fired(check(columns, outcome, **({"max_decline": 0.4} if name == "performance" else {})))
    after = fired(check(columns, outcome, **{"max_decline": 0.4} | {setting: value}))
    assert (name in before) == trigger.startswith("-"), before
    assert (name in after) != trigger.startswith("-"), after


def test_changed_labels_are_noticed(check: Check, later: Customers):
    columns, outcome = later
    assert fired(check(columns, 1.0 - outcome)) == ["performance", "target_drift"]


@pytest.mark.parametrize(
    "outcome",
    [lambda y: np.full(y.shape, np.nan), lambda y: np.zeros(y.shape), lambda y: np.where(y == 1.0, np.nan, y)],
    ids=["no label", "one class", "only stayers known"],
)
def test_a_missing_label_is_never_no_churn(
    check: Check, later: Customers, outcome: Callable[[NDArray[np.float64]], NDArray[np.float64]]
):
    report = check(later[0], outcome(later[1]))
    assert report.performance.decline.below is None
    assert report.performance.evaluation is None
    assert "10 of each are needed" in report.performance.decline.reason


def test_partly_labelled_batches_are_judged_on_known_outcomes(check: Check, later: Customers):
    columns, outcome = later
    known = np.where(np.arange(outcome.size) < 800, outcome, np.nan)
    report = check(columns, known)
    whole = check({n: v[:800] for n, v in columns.items()}, outcome[:800])
    assert (report.performance.coverage.due, report.performance.coverage.labelled) == (1667, 800)
    assert report.performance.evaluation == whole.performance.evaluation
    assert report.target_drift.drifted is None  # who left may have been told first
    assert report.target_drift.reason == "48% of the due outcomes are known; 80% are needed"
    assert whole.target_drift.drifted is False


def test_without_customers_there_is_no_verdict(check: Check):
    report = check({}, np.empty(0))
    assert report.feature_drift.drift_rate is None
    assert report.prediction_drift.drifted is report.target_drift.drifted is None
    assert [trigger.fired for trigger in report.recommendation.triggers] == [None] * 4
    assert not report.recommendation.value


@pytest.mark.parametrize("rows", [0, 5, 40, 1667])
@pytest.mark.parametrize("correction", ["none", "benjamini_hochberg"])
def test_every_report_fits_the_published_schema(check: Check, later: Customers, rows: int, correction: str):
    columns, outcome = {name: values[:rows] for name, values in later[0].items()}, later[1][:rows]
    document = json.loads(json.dumps(check(columns, outcome, correction=correction).to_json(), allow_nan=False))
    validator = jsonschema_rs.Draft202012Validator(ReportDocument.json_schema(), validate_formats=True)
    validator.validate(document)
    for key in ("timestamp", "performance", "feature_drift", "prediction_drift", "target_drift"):
        assert not validator.is_valid({name: value for name, value in document.items() if name != key})


def test_the_same_evidence_gives_the_same_report(check: Check, later: Customers):
    one, other = (check(*later).to_json() | {"timestamp": ""} for _ in range(2))
    assert one == other


def test_inputs_of_the_journal_are_encoded_as_the_api_did(settings: Settings, later: Customers):
    columns = {name: values[:50] for name, values in later[0].items()}
    records = []
    for row in range(50):
        values = {}
        for column in settings.table.inputs:
            value = columns[column.name][row]
            values[column.name] = column.choices[int(value)] if column.choices else value
        records.append(values | {"something_else": [1]})
    found = decode_inputs(packed_inputs(records), settings.table)
    assert found.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values)


def test_derived_columns_follow_the_columns_they_come_from(trained: TrainedModels, prepared: PreparedTable):
    """A shift of the minutes reaches the bill, and through it the score: nothing derived is stored with a customer."""
    bundle: Bundle = trained.refit
    columns = {name: values[:50] for name, values in prepared.columns.items()}
    more = dict(columns, total_day_minutes=columns["total_day_minutes"] + 100)
    place = bundle.selected.index("total_charge")
    bills = [bundle.matrix(bundle.imputer(c))[:, place] for c in (columns, more)]
    np.testing.assert_allclose(bills[1] - bills[0], 17.0)


def texts(name: str, value: str | None, share: float = 1.0) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Return a change that sets a share of a column's cells."""

    def change(table: pl.DataFrame) -> pl.DataFrame:
        some = pl.int_range(pl.len()) < share * pl.len()
        return table.with_columns(pl.when(some).then(pl.lit(value, pl.String)).otherwise(pl.col(name)).alias(name))

    return change


UNUSABLE: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "absent": (lambda table: table.drop("Total day minutes"), "Total day minutes is missing"),
    "renamed": (
        lambda table: table.rename({"Total day minutes": "Total day minuts"}),
        "Total day minutes is missing; is it 'Total day minuts'?",
    ),
    "empty": (texts("Total day minutes", None), "Total day minutes is empty"),
    "mostly empty": (texts("Total day minutes", None, 0.6), "Total day minutes is empty in 60% of the rows"),
    "words": (
        texts("Total day minutes", "n/a", 0.5),
        "Total day minutes cannot be read in 50% of the rows: 834 values not a number",
    ),
    "above the range": (texts("Total day minutes", "9e9"), "Total day minutes cannot be read in 100% of the rows: "),
    "another choice": (texts("International plan", "maybe"), "International plan cannot be read in 100% of the rows: "),
}


@pytest.fixture
def batch_of(tmp_path: Path, trained: TrainedModels) -> Callable[[pl.DataFrame], Batch]:
    def read(table: pl.DataFrame) -> Batch:
        table.write_csv(tmp_path / "later.csv")
        return batch_from_file(tmp_path / "later.csv", trained.refit, acts_as="weekly")

    return read


@pytest.mark.parametrize("how", UNUSABLE)
@pytest.mark.parametrize("rows", [1667, 10])
def test_a_required_column_that_cannot_be_read_is_an_alert(
    settings: Settings,
    trained: TrainedModels,
    log: CycleLog,
    batch_of: Callable[[pl.DataFrame], Batch],
    how: str,
    rows: int,
):
    change, reason = UNUSABLE[how]
    batch = batch_of(change(pl.read_csv(LATER, infer_schema=False).head(rows)))
    report = ModelMonitor(settings, log).check_batch(trained.refit, batch)
    broken, wrong, _, repeated = report.cautions
    assert (broken.name, broken.severity, broken.fired) == ("broken_columns", "critical", True)
    assert broken.reason.startswith(reason.partition(": ")[0] if rows == 10 else reason)
    assert (wrong.fired, repeated.fired) == (None, None)
    firing, clear = alarms(report, "")
    assert [alarm.subject for alarm in firing] == ["broken_columns"]
    assert not {"performance", "prediction_drift"} & set(clear)
    for why in (report.performance.decline.reason, report.prediction_drift.reason):
        assert why == "customers cannot be scored, because a required column is broken"
    columns = {column.name: column for column in report.feature_drift.columns}
    (name,) = report.unreadable_columns
    unread = columns.pop(name)
    assert (unread.drifted, unread.reason.startswith("the column ")) == (None, True)
    if rows == 1667:
        assert {column.drifted for column in columns.values()} == {False}
        assert report.target_drift.drifted is False
    document = report.to_json()
    assert ReportDocument.read(document).to_json() == document
    assert document["unreadable_columns"] == [name]
    page = report_page(document, trained.refit.reference, {}, settings.table)
    assert "Data about customers is broken" in page


def test_an_unreadable_optional_column_leaves_the_scores(
    settings: Settings, trained: TrainedModels, log: CycleLog, batch_of: Callable[[pl.DataFrame], Batch]
):
    later = pl.read_csv(LATER, infer_schema=False)
    batch = batch_of(texts("Total day charge", "?")(later))
    assert np.array_equal(batch.probability, batch_of(later).probability)
    report = ModelMonitor(settings, log).check_batch(trained.refit, batch)
    caution = report.cautions[0]
    assert (caution.severity, caution.fired) == ("warning", True)
    assert caution.reason.startswith("Total day charge cannot be read in 100% of the rows: 1667 values not a number")
    assert report.performance.decline.below is False
    report = ModelMonitor(settings, log).check_batch(trained.refit, batch_of(later.drop("Total day charge")))
    assert report.cautions[0].fired is False


def test_a_few_broken_cells_and_another_table_are_refused(batch_of: Callable[[pl.DataFrame], Batch]):
    later = pl.read_csv(LATER, infer_schema=False)
    broken = texts("Total day minutes", "n/a")(texts("Voice mail plan", "Atlantis", 0.1)(later))
    with pytest.raises(ValidationError) as refused:
        batch_of(broken)
    assert {failure.column for failure in refused.value.failures} == {
        "voice_mail_plan ('Voice mail plan')",
        "total_day_minutes ('Total day minutes')",
    }
    with pytest.raises(ValidationError):
        batch_of(later.select("Churn", "Total day charge"))


@pytest.mark.parametrize("copies", [1, 3])
def test_a_customer_repeated_by_a_join_counts_once(
    settings: Settings, trained: TrainedModels, log: CycleLog, copies: int
):
    raw = pl.read_csv(LATER, infer_schema=False).head(40)
    once = raw.with_columns(customer_id=pl.Series([f"c{row}" for row in range(38)] + [None, None]))
    joined = pl.concat([once.with_columns(**{"Total day minutes": pl.lit("1")})] * (copies - 1) + [once])
    expected = batch_from_table(raw, trained.refit, "joined.csv")
    batch = batch_from_table(joined, trained.refit, "joined.csv")
    assert batch.repeated_rows == 38 * (copies - 1)
    assert batch.rows == 40 + 2 * (copies - 1)  # rows without an id cannot be told apart
    kept = np.r_[np.arange(2 * (copies - 1)), np.arange(batch.rows)[-40:]][-40:]
    assert np.array_equal(batch.probability[kept], expected.probability)
    assert batch_from_table(joined.drop("customer_id"), trained.refit, "joined.csv").rows == joined.height
    report = ModelMonitor(settings, log).check_batch(trained.refit, batch)
    document = report.to_json()
    assert document.get("repeated_rows") == (batch.repeated_rows or None)
    assert ReportDocument.read(document).repeated_rows == (batch.repeated_rows or None)
    page = report_page(document, trained.refit.reference, {}, settings.table)
    assert ("76: copies of other rows" in page) is (copies == 3)


def test_a_schedule_waits_while_data_is_broken(check: Check, later: Customers, settings: Settings):
    columns, outcome = later
    report = replace(check({**columns, "total_day_minutes": np.full_like(outcome, 180.0)}, outcome), acts_as="weekly")
    options = settings.retraining.model_copy(update={"every_days": 1})
    project = SimpleNamespace(
        settings=settings.model_copy(update={"retraining": options}),
        folder=SimpleNamespace(since=lambda: datetime(2020, 1, 1, tzinfo=UTC)),
    )

    def unexpected(*_: Any) -> str:
        raise AssertionError

    sentence = _retraining(project, report, BatchSource(unexpected, "weekly"), unexpected, permitted=True)  # type: ignore[arg-type]
    assert "data about customers is broken" in sentence
