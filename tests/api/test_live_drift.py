"""Live drift: every answered customer is counted once, and workers meet in the journal. Gauges of monitoring."""

import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from churnops.api import live as live_module
from churnops.api.live import PARTS, LiveDrift, given_columns
from churnops.api.metrics import Metrics
from churnops.api.served import Served
from churnops.data.packing import pack_profile
from churnops.data.profile import Profile, count_profile, merge_profiles
from churnops.journal import open_database
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.profiles import ProfilePart, ProfileStore
from churnops.model.reference import SCORE
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.api import LONG_AGO, a_customer, client_of, service_of, stored
from tests.support.projects import LATER

pytestmark = pytest.mark.usefixtures("quiet")  # its own round would show what it read before the test wrote

START = datetime(2021, 11, 24, 12, tzinfo=UTC)  # outside the window of the service, which counts by the real clock


def merged(client: TestClient) -> str:
    """Make the service count and merge now instead of in a few seconds; return its metrics."""
    service = service_of(client)
    assert service.live is not None
    service.live.count()
    service.live.merge(service.model.current)
    return client.get("/metrics").text


def gauge(metrics: str, name: str, label: str = "") -> float:
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", metrics, re.M)
    if label:
        found = re.findall(rf'^{name}{{[^}}]*="{label}"}} (\S+)$', metrics, re.M)
    assert len(found) == 1, (name, label, found)
    return float(found[0])


def assert_same(found: Profile, expected: Profile) -> None:
    assert found.keys() == expected.keys()
    for name, column in expected.items():
        assert found[name].counts.tolist() == column.counts.tolist(), name
        assert found[name].missing == column.missing, name


@pytest.fixture
def later() -> list[dict[str, Any]]:
    """Sixty of the later customers, each with every column but the outcome, by raw headers."""
    table = pl.read_csv(LATER).head(60).drop("Churn").with_columns(pl.col("Area code").cast(pl.String))
    return table.to_dicts()


def test_every_answered_customer_is_counted_once_on_every_route(api_settings: Settings, later: list[dict[str, Any]]):
    table = pl.DataFrame(later)
    parquet = io.BytesIO()
    table.write_parquet(parquet)
    scores: list[float] = []
    with client_of(api_settings) as client:
        for customer in later:
            scores.append(client.post("/predict", json=customer).json()["churn_probability"])
        files = {
            "application/json": json.dumps(later).encode(),
            "text/csv": table.write_csv().encode(),
            "application/x-ndjson": table.write_ndjson().encode(),
            "application/vnd.apache.parquet": parquet.getvalue(),
        }
        for kind, body in files.items():
            assert client.post("/predict/batch", content=body, headers={"content-type": kind}).status_code == 200, kind
        served = service_of(client).model.require()
        assert gauge(merged(client), "churnops_live_rows") == 5 * len(later)
    records = served.form.read_all(later)
    columns = {**given_columns(served, records), SCORE: np.array(scores)}
    once, total = count_profile(served.bundle.reference, columns), None
    for _ in range(5):
        total = once if total is None else merge_profiles(total, once)
    assert total is not None
    assert_same(stored(api_settings, served), total)
    assert once["total_day_minutes"].rows == len(later)


def test_refused_customers_are_not_counted(make_settings: Callable[..., Settings], customer: dict[str, Any]):
    with client_of(make_settings()) as client:
        assert client.post("/predict", json={}).status_code == 422
        assert client.post("/predict/batch", json=[customer, {}]).status_code == 422
        with service_of(client).project.engine.begin() as connection:
            connection.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
        assert client.post("/predict", json=customer).status_code == 503
        assert gauge(merged(client), "churnops_live_rows") == 0


def test_a_null_is_missing_and_a_column_that_was_not_sent_is_no_sign(client: TestClient):
    served = service_of(client).model.require()
    optional = [c.name for c in served.bundle.schema.inputs if not c.required and c.name in served.bundle.reference]
    bare = {name: value for name, value in a_customer().items() if name not in optional}
    records = [served.form.read(r) for r in (a_customer(), bare, bare)]
    columns = given_columns(served, records)
    assert {name: columns[name].size for name in optional} == dict.fromkeys(optional, 1)
    nulls = given_columns(served, [served.form.read(bare | dict.fromkeys(optional))])
    assert all(np.isnan(nulls[name]).tolist() == [True] for name in optional)
    assert columns["international_plan"].tolist() == [0.0] * 3


def test_customers_like_the_training_rows_do_not_drift_but_others_do(make_settings: Callable[..., Settings]):
    table = pl.read_csv(LATER).drop("Churn").head(600)
    with client_of(make_settings()) as client:

        def send(customers: pl.DataFrame) -> str:
            body, headers = customers.write_csv().encode(), {"content-type": "text/csv"}
            assert client.post("/predict/batch", content=body, headers=headers).status_code == 200
            return merged(client)

        before = send(table)
        assert gauge(before, "churnops_live_drift_rate") == 0
        assert gauge(before, "churnops_live_score_drifted") == 0
        assert gauge(before, "churnops_live_column_drifted", "total_day_minutes") == 0
        assert gauge(before, "churnops_live_column_distance", "total_day_minutes") < 0.1
        assert gauge(before, "churnops_live_missing_rate", "total_day_minutes") == 0
        after = send(table.with_columns(pl.col("^Total (day|eve|night) (minutes|calls)$") // 3))
        assert gauge(after, "churnops_live_rows") == 2 * table.height
        assert gauge(after, "churnops_live_column_drifted", "total_day_minutes") == 1
        assert gauge(after, "churnops_live_column_distance", "total_day_minutes") > 0.3
        assert gauge(after, "churnops_live_column_drifted", "account_length") == 0
        assert gauge(after, "churnops_live_drift_rate") > 0.3


def test_one_customer_gives_no_verdict_on_drift(client: TestClient, customer: dict[str, Any]):
    client.post("/predict", json=customer)
    metrics = merged(client)
    assert gauge(metrics, "churnops_live_rows") == 1
    assert math.isnan(gauge(metrics, "churnops_live_drift_rate"))
    assert math.isnan(gauge(metrics, "churnops_live_column_drifted", "total_day_minutes"))


def test_the_last_counts_are_written_and_shown_after_a_restart(api_settings: Settings, customer: dict[str, Any]):
    with client_of(api_settings) as client:
        for _ in range(3):
            client.post("/predict", json=customer)
        served = service_of(client).model.require()
    assert stored(api_settings, served)[SCORE].rows == 3
    with client_of(api_settings) as client:
        client.post("/predict", json=customer)
        assert gauge(merged(client), "churnops_live_rows") == 4


def test_live_drift_can_be_switched_off(make_settings: Callable[..., Settings], customer: dict[str, Any]):
    settings = make_settings(api={"live_drift": False})
    with client_of(settings) as client:
        client.post("/predict", json=customer)
        client.post("/predict/batch", json=[customer])
        assert service_of(client).live is None
        served, metrics = service_of(client).model.require(), client.get("/metrics").text
        assert gauge(metrics, "churnops_live_updated_timestamp_seconds") == 0
        assert math.isnan(gauge(metrics, "churnops_live_drift_rate"))
    assert stored(settings, served)[SCORE].rows == 0


def test_without_recorded_predictions_it_counts_all_the_same(
    make_settings: Callable[..., Settings], customer: dict[str, Any]
):
    with client_of(make_settings(journal={"predictions": False})) as client:
        client.post("/predict", json=customer)
        assert gauge(merged(client), "churnops_live_rows") == 1


def test_a_failing_database_costs_one_log_line_and_loses_no_counts(
    make_settings: Callable[..., Settings], customer: dict[str, Any], caplog: pytest.LogCaptureFixture
):
    with client_of(make_settings()) as client:
        service = service_of(client)
        assert service.live is not None
        live = service.live
        client.post("/predict", json=customer)
        merged(client)
        with service.project.engine.begin() as connection:
            connection.execute(text("ALTER TABLE profiles RENAME TO elsewhere"))
        before = gauge(client.get("/metrics").text, "churnops_live_updated_timestamp_seconds")
        for _ in range(3):
            assert client.post("/predict", json=customer).status_code == 200
            live.count()
            service._attempt("live drift", lambda: live.merge(service.model.current))
        metrics = client.get("/metrics").text
        assert gauge(metrics, "churnops_live_rows") == 1
        assert gauge(metrics, "churnops_live_updated_timestamp_seconds") == before
        with service.project.engine.begin() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO profiles"))
        service._attempt("live drift", lambda: live.merge(service.model.current))
        assert gauge(client.get("/metrics").text, "churnops_live_rows") == 4
    said = [record.getMessage() for record in caplog.records if "live drift" in record.getMessage()]
    assert [line.partition(":")[0] for line in said] == [
        "live drift is not up to date",
        "live drift is up to date again",
    ]


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now

    def add(self, **passed: float) -> None:
        self.now += timedelta(**passed)


class Worker:
    """A worker that counts by the test's clock."""

    def __init__(self, settings: Settings, served: Served, clock: Clock) -> None:
        self.engine = open_database(settings.database_url(settings.journal.url))
        self.metrics = Metrics()
        self.live = LiveDrift(ProfileStore(self.engine), settings.monitoring, self.metrics.live, clock)
        self.served = served

    def count(self, rows: int, served: Served | None = None) -> None:
        chosen = served or self.served
        probes = {name: np.resize(values, rows) for name, values in chosen.bundle.probes.items()}
        self.live.add(chosen, probes, [0.5] * rows)
        self.live.count()

    def rows(self, served: Served | None = None) -> float:
        self.live.merge(served or self.served)
        return gauge(self.metrics.text().decode(), "churnops_live_rows")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def served(client: TestClient) -> Served:
    return service_of(client).model.require()


@pytest.fixture
def make_worker(api_settings: Settings, served: Served, clock: Clock) -> Iterator[Callable[[], Worker]]:
    workers = []

    def make() -> Worker:
        workers.append(Worker(api_settings, served, clock))
        return workers[-1]

    yield make
    for worker in workers:
        worker.engine.dispose()


def test_workers_show_what_all_of_them_counted(make_worker: Callable[[], Worker], clock: Clock):
    one, other = make_worker(), make_worker()
    one.count(10)
    assert (one.rows(), other.rows()) == (10, 10)
    for _ in range(3):
        clock.add(seconds=10)
        one.count(5)
        other.count(7)
        one.rows()
    assert other.rows() == 10 + 3 * (5 + 7)
    assert one.rows() == 10 + 3 * (5 + 7)
    clock.add(seconds=10)
    assert make_worker().rows() == 10 + 3 * (5 + 7)


def test_the_window_slides_by_its_parts_and_what_fell_out_is_deleted(
    make_worker: Callable[[], Worker], api_settings: Settings, clock: Clock
):
    part = timedelta(days=api_settings.monitoring.window_days) / PARTS
    worker, idle = make_worker(), make_worker()
    for n in range(PARTS + 3):
        worker.count(2**n)
        seen = [2**k for k in range(max(0, n - PARTS + 1), n + 1)]
        assert worker.rows() == sum(seen), n
        assert idle.rows() == sum(seen), n
        written = ProfileStore(worker.engine).written(worker.served.bundle.content_sha256, LONG_AGO)
        assert len(written) == len(seen)
        clock.now += part
    clock.now += PARTS * part
    assert worker.rows() == 0
    assert len(worker.live._counts) == 0


def test_a_late_write_for_an_earlier_part_is_seen(
    make_worker: Callable[[], Worker], api_settings: Settings, clock: Clock
):
    late, other = make_worker(), make_worker()
    late.count(3)
    clock.now += timedelta(days=api_settings.monitoring.window_days) / PARTS
    other.count(1)
    assert other.rows() == 1
    assert late.rows() == 4
    assert other.rows() == 4


def test_a_new_deployment_begins_afresh_and_a_rollback_goes_on(make_worker: Callable[[], Worker], clock: Clock):
    worker = make_worker()
    old = worker.served
    new = replace(old, bundle=replace(old.bundle, threshold=0.123))
    worker.count(4)
    assert worker.rows() == 4
    worker.count(2)  # not yet written when the other model comes
    worker.count(1, new)
    assert worker.rows(new) == 1
    worker.count(8, old)  # a request that was under way
    assert worker.rows(new) == 1
    clock.add(seconds=10)
    worker.count(16, old)
    assert worker.rows(old) == 4 + 2 + 8 + 16


def test_waiting_rows_are_limited_and_rows_not_counted_are_reported(
    make_worker: Callable[[], Worker], clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_module, "MAX_WAITING", 5)
    worker = make_worker()
    record = worker.served.form.read(a_customer())
    for _ in range(7):
        worker.live.add_one(worker.served, record, 0.5)
    probes = worker.served.bundle.probes
    worker.live.add(worker.served, probes, [0.5] * 8)
    worker.live.count()
    assert worker.rows() == 5
    assert gauge(worker.metrics.text().decode(), "churnops_live_dropped_total") == 2 + 8
    clock.add(seconds=10)
    worker.count(9)  # more than may wait, but nobody waits
    assert worker.rows() == 14


def test_forged_rows_are_left_out_and_logged_once(
    make_worker: Callable[[], Worker], clock: Clock, caplog: pytest.LogCaptureFixture
):
    worker = make_worker()
    worker.count(4)
    assert worker.rows() == 4
    reference = worker.served.bundle.reference
    model, part = worker.served.bundle.content_sha256, worker.live._part(START)
    good = pack_profile({name: column.empty() for name, column in reference.items()})
    forged = [b"", good[:-1], b"\x00" * 100]
    rows = [ProfilePart(model, part, f"forger {n}", data) for n, data in enumerate(forged)]
    store = ProfileStore(worker.engine)
    store.write(rows, START, LONG_AGO)
    assert worker.rows() == 4
    assert caplog.text.count("are left out") == len(forged)
    for n in range(3):  # the part is read again, as somebody else wrote
        clock.add(seconds=10)
        worker.count(1)
        assert worker.rows() == 4 + n + 1
    assert caplog.text.count("are left out") == len(forged)
    for data, lines in ((good[:-2], 1), (good, 1), (good[:-2], 2)):  # damaged otherwise, whole, damaged again
        clock.add(seconds=10)
        store.write([rows[0]._replace(data=data)], clock(), LONG_AGO)
        assert worker.rows() == 7
        assert caplog.text.count("are left out") == len(forged) + lines


SUMMARY: dict[str, Any] = {
    "model_version": "xgboost-1",
    "rows": 600,
    "drift_rate": 0.25,
    "look": 3,
    "columns": {"total_day_minutes": {"effect": 0.31, "drifted": True}, "state": {"effect": None, "drifted": None}},
    "prediction_drift": {"statistic": 0.2, "p_value": 0.001, "effect": 0.2, "drifted": True},
    "target_drift": {"statistic": None, "p_value": None, "effect": None, "drifted": None},
    "performance": {
        "metrics": {
            "roc_auc": {"value": 0.91, "low": 0.88, "high": 0.94},
            "f1": {"value": None, "low": None, "high": None},
        },
        "labelled": 300,
        "due": 400,
        "verdict": "not below",
    },
    "recommend_retraining": {
        "value": True,
        "triggers": {"performance": False, "feature_drift": True, "prediction_drift": True, "target_drift": None},
    },
}


def cycle(minutes: int, *, report_only: bool = False, failed: bool = False, **changes: Any) -> Cycle:
    summary = {"error": "no customers"} if failed else SUMMARY | changes
    status: Any = "failed" if failed else "finished"
    return Cycle(START + timedelta(minutes=minutes), "0" * 64, report_only, status, None, summary)


def test_the_newest_finished_cycle_is_shown(api_settings: Settings):
    with client_of(api_settings) as client:
        service = service_of(client)
        log = CycleLog(service.project.engine)

        def shown(*cycles: Cycle) -> str:
            for added in cycles:
                log.record(replace(added, content_sha256=service.model.current.bundle.content_sha256))
            service._show_cycle()
            return client.get("/metrics").text

        prefix = "churnops_monitoring_"
        none = shown()
        assert gauge(none, prefix + "cycle_timestamp_seconds") == 0
        assert gauge(none, prefix + "failed") == 0
        assert math.isnan(gauge(none, prefix + "recommend_retraining"))
        found = shown(cycle(1))
        expected = {
            ("cycle_timestamp_seconds", ""): (START + timedelta(minutes=1)).timestamp(),
            ("failed", ""): 0.0,
            ("drift_rate", ""): 0.25,
            ("rows", ""): 600.0,
            ("recommend_retraining", ""): 1.0,
            ("labelled", ""): 300.0,
            ("label_coverage", ""): 0.75,
            ("metric", "roc_auc"): 0.91,
            ("metric_low", "roc_auc"): 0.88,
            ("metric_high", "roc_auc"): 0.94,
            ("column_effect", "total_day_minutes"): 0.31,
            ("column_drifted", "total_day_minutes"): 1.0,
            ("trigger", "performance"): 0.0,
            ("trigger", "feature_drift"): 1.0,
            ("effect", "prediction_drift"): 0.2,
            ("drifted", "prediction_drift"): 1.0,
        }
        assert {key: gauge(found, prefix + key[0], key[1]) for key in expected} == expected
        unknown = {"metric": "f1", "column_effect": "state", "column_drifted": "state"}
        for name, label in (unknown | dict.fromkeys(("trigger", "effect", "drifted"), "target_drift")).items():
            assert math.isnan(gauge(found, prefix + name, label))
        found = shown(cycle(2, report_only=True, drift_rate=1.0), cycle(3, failed=True))
        assert gauge(found, prefix + "drift_rate") == 0.25
        assert gauge(found, prefix + "failed") == 1
        assert gauge(found, prefix + "cycle_timestamp_seconds") == (START + timedelta(minutes=1)).timestamp()
        log.record(cycle(4, drift_rate=0.9))
        assert gauge(shown(), prefix + "drift_rate") == 0.25, "a cycle of another model is not shown"
        found = shown(cycle(5, drift_rate=0.5, columns={}, performance="of another version"))
        assert gauge(found, prefix + "failed") == 0
        assert gauge(found, prefix + "drift_rate") == 0.5
        assert math.isnan(gauge(found, prefix + "column_drifted", "total_day_minutes"))
        assert math.isnan(gauge(found, prefix + "metric", "roc_auc"))


def test_the_cycle_of_the_main_job_is_shown_whole(project: tuple[Settings, RunSummary]):
    engine = open_database(project[0].database_url(project[0].journal.url))
    found = CycleLog(engine).newest(status="finished")[0]
    engine.dispose()
    metrics = Metrics()
    metrics.cycle.show(found.summary, found.at, failed=False, undelivered=0)
    metrics.cycle.show_sources({found.source: found})
    text = metrics.text().decode()
    families = set(re.findall(r"^# TYPE (churnops_monitoring_\w+) gauge$", text, re.M))
    told = {name for name in families if re.search(rf"^{name}(?:{{[^}}]*}})? (?!NaN)", text, re.M)}
    assert told == families
    assert gauge(text, "churnops_monitoring_rows") == found.summary["rows"]
    assert gauge(text, "churnops_monitoring_metric", "roc_auc") > gauge(
        text, "churnops_monitoring_metric_low", "roc_auc"
    )
    triggers = {"performance", "feature_drift", "prediction_drift", "target_drift"}
    assert set(re.findall(r'^churnops_monitoring_trigger{trigger="(\w+)"}', text, re.M)) == triggers


def test_every_metric_is_described(client: TestClient):
    table = (Path(__file__).parents[2] / "deploy/prometheus/README.md").read_text()
    shown = set(re.findall(r"^# TYPE (churnops_\w+) ", client.get("/metrics").text, re.M))
    described = set(re.findall(r"`(churnops_\w+)[`{]", table))
    assert shown - described == set()
    assert described - shown == set()


def test_gauges_show_live_traffic_and_other_sources_have_their_own(api_settings: Settings):
    with client_of(api_settings) as client:
        service = service_of(client)
        log = CycleLog(service.project.engine)
        log.record(replace(cycle(1), content_sha256=service.model.current.bundle.content_sha256))
        for added in (cycle(2, drift_rate=1.0), cycle(3, failed=True)):
            log.record(replace(added, source="weekly"))
        log.record(replace(cycle(4, report_only=True), source="file"))
        service._show_cycle()
        shown = client.get("/metrics").text
        assert gauge(shown, "churnops_monitoring_drift_rate") == 0.25
        assert gauge(shown, "churnops_monitoring_failed") == 0
        assert gauge(shown, "churnops_monitoring_source_failed", "weekly") == 1
        at = gauge(shown, "churnops_monitoring_source_cycle_timestamp_seconds", "weekly")
        assert at == (START + timedelta(minutes=3)).timestamp()
        assert math.isnan(gauge(shown, "churnops_monitoring_source_recommend_retraining", "weekly"))
        assert '"file"' not in shown
