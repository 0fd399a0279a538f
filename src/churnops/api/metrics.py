"""Counters and gauges for Prometheus, at `GET /metrics`."""

import os
from functools import lru_cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from churnops.api.gauges import CycleGauges, LiveGauges, ShadowMetrics
from churnops.api.process_metrics import ProcessMetrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # otherwise each counter adds its time of creation
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# In seconds: an answer takes a few milliseconds, an upload minutes.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """Metrics of the service; with `PROMETHEUS_MULTIPROC_DIR`, each worker returns the metrics of all workers."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        # The histogram also counts requests (`_count`): a separate counter would double the time.
        self._seconds = Histogram(
            "churnops_http_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ["route", "method", "status"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._predictions = Counter(
            "churnops_predictions",
            "Answered customers, by model and prediction.",
            ["model_version", "churn"],
            registry=registry,
        )
        self.journal_failures = Counter(
            "churnops_journal_failures", "Predictions that could not be recorded.", registry=registry
        )
        self.labels = Counter("churnops_labels", "Outcomes recorded.", registry=registry)
        self.unmatched_labels = Counter(
            "churnops_labels_unmatched", "Outcomes for a customer without a prediction.", registry=registry
        )
        self.unknown_levels = Counter(
            "churnops_unknown_levels",
            "Answered customers with a level that the model does not have, by column.",
            ["column"],
            registry=registry,
        )
        self.split_answers = Counter(
            "churnops_split_answers",
            "Answered customers of a split, by their arm and the model that answered.",
            ["arm", "model_version"],
            registry=registry,
        )
        self.split_without_id = Counter(
            "churnops_split_without_id",
            "Customers without an id that the champion answered while a split was running.",
            registry=registry,
        )
        self._model = Gauge(
            "churnops_model_info",
            "1 for the deployed model, 0 for earlier ones.",
            ["model_version"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._refused = Gauge(
            "churnops_model_refused",
            "1 while the newest deployment is refused; the earlier model, if any, stays loaded.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.process = ProcessMetrics(registry)
        self.live = LiveGauges(registry)
        self.cycle = CycleGauges(registry)
        self.shadow = ShadowMetrics(registry)
        self._version: str | None = None
        # A look-up by labels takes longer than counting.
        self._seconds_child = lru_cache(maxsize=1000)(self._seconds.labels)
        self._prediction_child = lru_cache(maxsize=100)(self._predictions.labels)
        self.split_child = lru_cache(maxsize=100)(self.split_answers.labels)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._seconds_child(route, method, status).observe(seconds)

    def predictions(self, version: str, churn: bool, count: int) -> None:
        """Count answered customers with a prediction."""
        self._prediction_child(version, "true" if churn else "false").inc(count)

    def model(self, version: str | None, refused: bool) -> None:
        """Set the deployed model, and whether a newer one is refused."""
        if self._version and self._version != version:
            self._model.labels(self._version).set(0)
        if version:
            self._model.labels(version).set(1)
        self._version = version
        self._refused.set(refused)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not folder:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _forget_dead_workers(folder: Path) -> None:
    """Delete the gauges of dead workers, which would keep their last values."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
