"""Gauges of live drift and of the newest monitoring cycle.

An unknown value is NaN, for which no alert's comparison is true. All workers set the same values, so Prometheus gets
the value that was set last.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from math import nan
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from churnops.journal.cycles import Cycle
from churnops.monitoring.drift.scores import SLACK
from churnops.monitoring.verdicts import DISTRIBUTION, ColumnDrift, FeatureDrift
from churnops.wire import ShadowLook


class Gauges:
    """Creates gauges, and sets the values of gauges with a label."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self._registry = registry
        self._prefix = prefix
        self._shown: dict[Gauge, set[str]] = {}

    def gauge(self, name: str, description: str, label: str | None = None, *, first: float = nan) -> Gauge:
        """Create a gauge with the value `first`. A gauge with a label has no values until they are set."""
        made = Gauge(
            f"{self._prefix}_{name}",
            description,
            [label] if label else [],
            registry=self._registry,
            multiprocess_mode="livemostrecent",
        )
        # With several workers there is no first value: a new worker's would hide the values of the others.
        if label is None and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            made.set(first)
        return made

    def set_all(self, gauge: Gauge, values: Mapping[str, float | bool | None]) -> None:
        """Set the values of a gauge by label; an earlier label that is missing now gets NaN."""
        known = self._shown.setdefault(gauge, set())
        known.update(values)
        for label in known:
            gauge.labels(label).set(number(values.get(label)))


def number(value: Any) -> float:
    """Return the value of a gauge: 1 or 0 for a verdict, NaN if it is unknown.

    >>> number(True), number(0.25), number(None)
    (1.0, 0.25, nan)
    """
    return float(value) if isinstance(value, bool | int | float) else nan


class LiveGauges(Gauges):
    """Gauges of the drift of recent customers from the deployed model's reference; see `churnops.api.live`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "churnops_live")
        self.rows = self.gauge("rows", "Customers that the deployed model scored in the window, over all workers.")
        self.drift_rate = self.gauge("drift_rate", "Share of the columns that drifted.")
        self.distance = self.gauge(
            "column_distance",
            "Distance of a column from the reference: KS distance, or PSI if it has choices.",
            "column",
        )
        self.drifted = self.gauge("column_drifted", "1 if a column drifted, 0 if not, NaN if unknown.", "column")
        self.missing = self.gauge("missing_rate", "Share of null among the values sent for a column.", "column")
        self.score_distance = self.gauge(
            "score_distance",
            f"Distance of the scores: KS distance, if scores within {SLACK:g} log-odds count as equal (a refit alone "
            "can move them that far).",
        )
        self.score_drifted = self.gauge("score_drifted", "1 if the scores drifted, 0 if not, NaN if unknown.")
        self.updated = self.gauge(
            "updated_timestamp_seconds", "Time of the last merge of the workers' counts, 0 if never.", first=0.0
        )
        self.dropped = Counter(
            "churnops_live_dropped",
            "Answered customers that are not in live drift: the queue for counting was full, or counting failed.",
            registry=registry,
        )

    def show(
        self, rows: int, features: FeatureDrift, scores: ColumnDrift, missing: Mapping[str, float], at: datetime
    ) -> None:
        """Show the verdicts (`churnops.monitoring.verdicts`) on `rows` customers."""
        self.rows.set(rows)
        self.drift_rate.set(number(features.drift_rate))
        self.set_all(self.distance, {column.name: _distance(column) for column in features.columns})
        self.set_all(self.drifted, {column.name: column.drifted for column in features.columns})
        self.set_all(self.missing, missing)
        self.score_distance.set(number(scores.effect))
        self.score_drifted.set(number(scores.drifted))
        self.updated.set(at.timestamp())


def _distance(column: ColumnDrift) -> float | None:
    """Return the effect size of a column's values. The verdict may come from the test of missing values."""
    return next((finding.effect for finding in column.findings if finding.test in DISTRIBUTION), None)


class CycleGauges(Gauges):
    """Gauges of the newest finished monitoring cycle of the loaded model on live traffic, and of a later failure.

    Other sources (files) have fewer gauges. Report-only cycles are left out.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "churnops_monitoring")
        of = "in the newest finished cycle of the loaded model"
        self.metric = self.gauge("metric", f"A metric on the customers with a known outcome, {of}.", "metric")
        self.low = self.gauge("metric_low", "Lower end of the metric's interval.", "metric")
        self.high = self.gauge("metric_high", "Upper end of the metric's interval.", "metric")
        self.limit = self.gauge("performance_limit", f"Lowest acceptable ROC-AUC, {of}.")
        self.drift_rate = self.gauge("drift_rate", f"Share of the columns that drifted, {of}.")
        self.effect = self.gauge("column_effect", f"Size of a column's drift, {of}.", "column")
        self.drifted = self.gauge("column_drifted", f"1 if a column drifted, 0 if not, NaN if unknown, {of}.", "column")
        self.whole_effect = self.gauge("effect", f"Size of the drift of scores or outcomes, {of}.", "drift")
        self.whole_drifted = self.gauge("drifted", f"1 if scores or outcomes drifted, 0 if not, {of}.", "drift")
        self.trigger = self.gauge("trigger", f"1 if a trigger of retraining fired, 0 if not, {of}.", "trigger")
        self.caution = self.gauge(
            "caution", f"1 if a caution holds, such as broken columns, 0 if not, {of}.", "caution"
        )
        self.recommends = self.gauge("recommend_retraining", f"1 if retraining is recommended, 0 if not, {of}.")
        self.rows = self.gauge("rows", f"Customers, {of}.")
        self.labelled = self.gauge("labelled", f"Customers with a known outcome, {of}.")
        self.coverage = self.gauge("label_coverage", f"Share of the due outcomes that are known, {of}.")
        self.at = self.gauge(
            "cycle_timestamp_seconds", "Time of the newest finished cycle, 0 if there is none.", first=0.0
        )
        self.failed = self.gauge("failed", "1 if the newest cycle failed, 0 if it finished.", first=0.0)
        self.undelivered = Gauge(
            "churnops_alerts_undelivered",
            "Alerts of the last 24 hours that were not delivered to a channel.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

        cycle = "the newest cycle of customers scored by file"
        self.source_at = self.gauge("source_cycle_timestamp_seconds", f"Time of {cycle}.", "source")
        self.source_failed = self.gauge("source_failed", f"1 if {cycle} failed, 0 if it finished.", "source")
        self.source_recommends = self.gauge(
            "source_recommend_retraining", f"1 if {cycle} recommends retraining, 0 if not.", "source"
        )
        self.source_drift_rate = self.gauge(
            "source_drift_rate", f"Share of the columns that drifted in {cycle}.", "source"
        )

    def show_sources(self, cycles: Mapping[str, Cycle]) -> None:
        """Set the gauges of the newest cycle of each source except live traffic."""
        retraining = {name: _table(cycle.summary, "recommend_retraining") for name, cycle in cycles.items()}
        self.set_all(self.source_at, {name: cycle.at.timestamp() for name, cycle in cycles.items()})
        self.set_all(self.source_failed, {name: cycle.status == "failed" for name, cycle in cycles.items()})
        self.set_all(self.source_recommends, _each(retraining, "value"))
        self.set_all(self.source_drift_rate, {name: cycle.summary.get("drift_rate") for name, cycle in cycles.items()})

    def show(self, summary: Mapping[str, Any] | None, at: datetime | None, *, failed: bool, undelivered: int) -> None:
        """Set the gauges from a summary of the table `cycles`; `summary` is None before the first finished cycle."""
        document = summary or {}
        performance = _table(document, "performance")
        for gauge, name in ((self.metric, "value"), (self.low, "low"), (self.high, "high")):
            self.set_all(gauge, _each(_table(performance, "metrics"), name))
        self.limit.set(number(performance.get("line")))
        columns = _table(document, "columns")
        self.drift_rate.set(number(document.get("drift_rate")))
        self.set_all(self.effect, _each(columns, "effect"))
        self.set_all(self.drifted, _each(columns, "drifted"))
        whole = {name: _table(document, name) for name in ("prediction_drift", "target_drift")}
        self.set_all(self.whole_effect, _each(whole, "effect"))
        self.set_all(self.whole_drifted, _each(whole, "drifted"))
        retraining = _table(document, "recommend_retraining")
        self.set_all(self.trigger, _table(retraining, "triggers"))
        self.set_all(self.caution, _table(document, "cautions"))
        self.recommends.set(number(retraining.get("value")))
        self.rows.set(number(document.get("rows")))
        labelled, due = number(performance.get("labelled")), number(performance.get("due"))
        self.labelled.set(labelled)
        self.coverage.set(labelled / due if due > 0 else nan)
        self.at.set(at.timestamp() if at else 0.0)
        self.failed.set(failed)
        self.undelivered.set(undelivered)


class ShadowMetrics(Gauges):
    """Counters of a shadow's scores, and gauges of its newest look. They are NaN while no shadow runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "churnops_shadow")
        self.scored = Counter("churnops_shadow_scored", "Customers that the challenger scored.", registry=registry)
        self.dropped = Counter(
            "churnops_shadow_dropped", "Customers that the challenger did not score.", ["reason"], registry=registry
        )
        self.running = self.gauge("running", "1 while a shadow runs.", first=0.0)
        self.labelled = self.gauge("labelled", "Customers with a due and known outcome.")
        self.gain = self.gauge("gain", "Champion's log loss minus the challenger's, in nats.")
        self.low = self.gauge("gain_low", "Lower bound of the gain, at all looks together.")
        self.high = self.gauge("gain_high", "Upper bound of the gain, at all looks together.")
        self.required = self.gauge("required_gain", "Gain that the gate requires.")

    def show(self, look: ShadowLook | None, *, running: bool) -> None:
        """Show the newest look of the running shadow."""
        self.running.set(running)
        shown = look if running else None
        self.labelled.set(number(shown and shown.labelled))
        self.gain.set(number(shown and shown.gain))
        self.low.set(number(shown and shown.low))
        self.high.set(number(shown and shown.high))
        self.required.set(number(shown and shown.required_gain))


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of a document, empty if it is missing: cycles of other versions may have other tables."""
    table = document.get(name)
    return table if isinstance(table, Mapping) else {}


def _each(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: _table(tables, key).get(name) for key in tables}
