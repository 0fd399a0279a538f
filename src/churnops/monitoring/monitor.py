"""ModelMonitor: one monitoring cycle, from a batch to the report and its files."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from churnops.data.profile import ColumnProfile, count_profile
from churnops.errors import ChurnopsError
from churnops.evaluation.delong import delong
from churnops.files import flushed_file, fsync_folder, write_flushed
from churnops.model import Bundle
from churnops.model.reference import SCORE
from churnops.monitoring.batch import NO_SCORES, Batch, Resolved, Window
from churnops.monitoring.budget import Verdicts, level, recommend
from churnops.monitoring.cautions import broken_columns, explained_by, wrong_predictions
from churnops.monitoring.copies import without_copies
from churnops.monitoring.drift import model_slack
from churnops.monitoring.new_levels import new_levels
from churnops.monitoring.performance import measure_performance, promised_at
from churnops.monitoring.report import PastWindow, Report
from churnops.monitoring.training_rows import count_training_rows
from churnops.monitoring.verdicts import NOT_KEPT, judge_columns, judge_labels, judge_scores
from churnops.project import Project
from churnops.schema import Schema
from churnops.settings import MonitoringSettings, Settings, project_settings
from churnops.step import StepResult

if TYPE_CHECKING:
    from churnops.journal.cycles import CycleLog


@dataclass(frozen=True, kw_only=True)
class MonitoringCycle(StepResult):
    """The report of a cycle, and the files it was written to: JSON, and a page for people."""

    report: Report
    path: Path
    page: Path


class ModelMonitor:
    """Checks of the deployed model with the thresholds of the settings.

    `check` reports on customers. A cycle with files, MLflow and alerts is `churnops.monitor()` or `churnops monitor`,
    which use `run_batch`.

    Parameters
    ----------
    settings
        Default: the `config.yaml` of this folder or of one above.
    log
        Counts the looks at a model, which spend the error budget, and keeps the results of cycles; `run_batch` needs
        it.
    thresholds
        Settings of the section `monitoring` that differ from `config.yaml`, such as `drift_threshold=0.01`.

    Raises
    ------
    SettingsError
        If there is no `config.yaml`, or a threshold is unknown or out of range.

    Examples
    --------
    >>> from churnops.monitoring import ModelMonitor
    >>> monitor = ModelMonitor()                                                           # doctest: +SKIP
    >>> monitor.thresholds.performance_threshold, monitor.thresholds.drift_threshold       # doctest: +SKIP
    (0.75, 0.05)
    >>> report = monitor.check("data/production/churn-later.csv")                          # doctest: +SKIP
    >>> report.feature_drift.drift_rate, report.recommendation.value                       # doctest: +SKIP
    (0.0, False)
    """

    def __init__(self, settings: Settings | None = None, log: "CycleLog | None" = None, **thresholds: object) -> None:
        settings = project_settings() if settings is None else settings
        self._settings = settings.changed("monitoring", thresholds) if thresholds else settings
        self._log = log

    @property
    def thresholds(self) -> MonitoringSettings:
        """Thresholds and levels of the checks."""
        return self._settings.monitoring

    def check(self, customers: object = None) -> Report:
        """Return the report on customers of the deployed model. Nothing is written, and no look is counted.

        Parameters
        ----------
        customers
            A list of dicts, a pandas or Polars DataFrame, or the path of a CSV, Parquet or Excel file, with or without
            outcomes. None: the newest predictions of the journal and the outcomes that are due.

        Raises
        ------
        ChurnopsError
            If no model is deployed, the customers break its Schema, or the journal does not answer.
        """
        from churnops.monitoring.collect import batch_from_customers  # imports Polars
        from churnops.monitoring.window import newest_batch

        with Project.open(self._settings) as project:
            bundle = project.require_deployed()
            if customers is None:
                length = timedelta(days=self.thresholds.window_days)
                batch = newest_batch(project.journal, bundle, length, now=datetime.now(UTC))
            else:
                batch = batch_from_customers(customers, bundle)
        return self.check_batch(bundle, replace(batch, acts_as=None))

    def run_batch(self, bundle: Bundle, batch: Batch, *, examined_before: bool = False) -> MonitoringCycle:
        """Check a batch against the bundle's reference, write the report and its files, and record the cycle.

        `monitoring_report_<time>.json` is written last. If it exists, so do the batch and the page.

        Raises
        ------
        ChurnopsError
            If the journal's database does not answer, or the files cannot be written.
        """
        from churnops.journal.cycles import Cycle
        from churnops.monitoring.image import report_image
        from churnops.monitoring.page import report_page

        if self._log is None:
            raise ValueError("ModelMonitor without a log only checks: see churnops.monitor()")
        look, established = None, frozenset[str]()
        if not batch.report_only and (batch.rows or batch.resolved.churned.size):
            look = self._log.look(bundle.content_sha256, batch.sha256, batch.whose)
            established = self._log.established(bundle.content_sha256, batch.whose)
        report, profile = self._check(bundle, batch, look, established)
        report = replace(report, examined_before=examined_before)
        document, summary = report.to_json(), report.summary()
        page = report_page(document, bundle.reference, profile, bundle.schema)
        image = report_image(document, bundle.reference, profile, bundle.schema)
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        customers = f"production_batch_{report.name}.csv"
        files = {
            f"monitoring_report_{report.name}.html": page,
            f"monitoring_report_{report.name}.json": text,
        }
        folder = self._settings.path(self._settings.monitoring.directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if batch.counted is None:
                with flushed_file(folder / customers) as file:
                    _write_customers(file, batch, bundle.schema)
                fsync_folder(folder)
            for name, content in files.items():
                write_flushed(folder / name, content.encode())
                fsync_folder(folder)
        except OSError as error:
            raise ChurnopsError(f"{folder} cannot be written: {error.strerror or error}") from None
        written = {customers: folder / customers} if batch.counted is None else {}
        page_name, report_name = files
        cycle = Cycle(
            report.timestamp, bundle.content_sha256, batch.report_only, "finished", report_name, summary, batch.whose
        )
        self._log.record(cycle)
        return MonitoringCycle(
            report=report,
            path=folder / report_name,
            page=folder / page_name,
            params=self._settings.monitoring.model_dump(exclude={"directory"})
            | {
                "model_version": report.model_version,
                "source": report.source,
                "acts_as": report.acts_as,
                "look": report.look,
            },
            metrics=_metrics(summary),
            datasets={"production": (report.source[:200], batch.sha256)},
            artifacts={**written, **files, "figures/columns.svg": image},
            summary=report.in_words(),
        )

    def check_batch(self, bundle: Bundle, batch: Batch, *, look: int | None = None) -> Report:
        """Return the report of a batch without writing anything, at the level of this look (None: of a first look)."""
        return self._check(bundle, batch, look, ())[0]

    def _check(
        self, bundle: Bundle, batch: Batch, look: int | None, established: Collection[str]
    ) -> tuple[Report, dict[str, ColumnProfile]]:
        settings, reference, target = self._settings.monitoring, bundle.reference, bundle.schema.target.name
        models = self._settings.models
        batch = without_copies(bundle, batch, models)
        resolved = batch.resolved
        profile = count_profile(reference, batch.columns)
        profile |= count_profile(
            {name: reference[name] for name in (SCORE, target)}, {SCORE: batch.probability, target: resolved.churned}
        )
        if batch.counted is not None:
            profile |= batch.counted.profile
        promised = promised_at(bundle.metrics, bundle.threshold)
        performance = measure_performance(resolved, promised, bundle.threshold, self._settings)
        unkept = bundle.schema.personal - batch.columns.keys() if batch.window or batch.simulated else ()
        unreadable = {**batch.broken, **dict.fromkeys(unkept, NOT_KEPT)}
        features = judge_columns(bundle, profile, settings, unreadable)
        scores = judge_scores(reference[SCORE], profile[SCORE], settings, model_slack(bundle.metrics))
        if not batch.scored:
            scores = replace(scores, reason=NO_SCORES)
        labels = judge_labels(target, reference[target], profile[target], settings, known=resolved.coverage.share)
        certain = level(look or 1, settings.false_alarm_budget)
        broken = broken_columns(bundle, profile, features, certain, batch.broken)
        explained = explained_by(broken, same_rows=batch.window is None)
        verdicts = Verdicts(performance.decline, features, scores, labels, explained)
        recommendation = recommend(verdicts, settings, look, established=established)
        wrong = wrong_predictions(performance.decline.errors, recommendation, explained, certain)
        repeated = count_training_rows(bundle, batch, models)
        unknown = new_levels(bundle, profile, batch.unexpected, features, certain)
        report = Report(
            timestamp=datetime.now(UTC),
            model_version=bundle.version_name,
            content_sha256=bundle.content_sha256,
            source=batch.source,
            acts_as=batch.acts_as,
            simulated=batch.simulated,
            past=batch.past,
            demonstration=self._settings.demonstration,
            window=batch.window,
            rows=batch.rows,
            repeated_rows=batch.repeated_rows,
            look=look,
            threshold=settings.performance_threshold,
            performance=performance,
            history=tuple(_past(window, past) for window, past in batch.history),
            feature_drift=features,
            prediction_drift=scores,
            target_drift=labels,
            recommendation=recommendation,
            training_rows=repeated.count,
            unreadable_columns=tuple(batch.broken),
            cautions=(broken, wrong, unknown, repeated.caution(certain)),
        )
        return report, profile


def _write_customers(file: IO[bytes], batch: Batch, schema: Schema) -> None:
    """Write a batch as CSV."""
    from churnops.data.read import decode, marked  # imports Polars

    for number, (columns, outcome) in enumerate(batch.pages()):
        table = decode(columns, outcome, schema).drop(schema.personal, strict=False)
        file.write((marked(table) if batch.simulated else table).write_csv(include_header=number == 0).encode())


def _past(window: Window, resolved: Resolved) -> PastWindow:
    if np.unique(resolved.churned).size < 2:
        return PastWindow(window, resolved.coverage)
    auc = delong(resolved.churned, resolved.probability)
    return PastWindow(window, resolved.coverage, auc.value, auc.low, auc.high)


def _metrics(summary: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the numbers of a report's summary as MLflow's metrics."""
    metrics = {name: metric["value"] for name, metric in summary["performance"]["metrics"].items()}
    metrics |= {"rows": summary["rows"], "drift_rate": summary["drift_rate"], "look": summary["look"]}
    for test in ("prediction_drift", "target_drift"):
        metrics |= {f"{test}_statistic": summary[test]["statistic"], f"{test}_p_value": summary[test]["p_value"]}
    metrics |= {f"effect.{name}": column["effect"] for name, column in summary["columns"].items()}
    metrics |= {f"labels_{name}": summary["performance"][name] for name in ("due", "labelled")}
    metrics["recommend_retraining"] = summary["recommend_retraining"]["value"]
    return {name: float(value) for name, value in metrics.items() if value is not None}
