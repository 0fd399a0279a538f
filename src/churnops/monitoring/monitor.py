"""Step 7: one monitoring cycle: score a batch with the deployed bundle, test it against the reference, report."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile
from churnops.model import Bundle
from churnops.model.bundle import SCORE
from churnops.monitoring.drift import DriftTest, chi_square_test, ks_test
from churnops.monitoring.performance import LabelCoverage, Performance, measure_performance
from churnops.monitoring.report import Report
from churnops.schema import Columns
from churnops.settings import Settings
from churnops.step import StepResult

# Scores are compared in steps of a tenth, and a KS distance below a tenth is no drift. The reference holds out-of-fold
# scores, from other fits than the deployed one, which put the same customer a few hundredths away; most customers of a
# tree model share one score, so an exact comparison of the two would find drift in every clean batch.
SCORE_EDGES = np.arange(1, 10) / 10
SCORE_FLOOR = 0.1


@dataclass(frozen=True, kw_only=True)
class MonitoringCycle(StepResult):
    """The report of a cycle and the file it was written to."""

    report: Report
    path: Path


class ModelMonitor:
    """Runs monitoring cycles with the thresholds of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self, bundle: Bundle, columns: Columns, outcome: NDArray[np.float64], *, source: str) -> MonitoringCycle:
        """Check a batch of customers against the bundle's reference, and write the report.

        Parameters
        ----------
        columns
            Encoded columns of n customers; n may be 0, then nothing can be told.
        outcome
            Shape (n,): 1 churned, 0 stayed, NaN not known.
        source
            Where the batch comes from, in words.
        """
        report = self.check(bundle, columns, outcome, source=source)
        path = report.write(self._settings.path(self._settings.monitoring.directory))
        settings = self._settings.monitoring
        metrics: dict[str, float] = {"rows": report.rows, "recommend_retraining": int(report.recommend_retraining)}
        if report.drift_rate is not None:
            metrics["drift_rate"] = report.drift_rate
        for test in (report.prediction_drift, report.target_drift):
            if test.p_value is not None:
                metrics[f"{test.name}_drift_p_value"] = test.p_value
        if report.performance.evaluation is not None:
            found = report.performance.evaluation.metrics
            metrics |= {name: m.value for name, m in found.items() if np.isfinite(m.value)}
        return MonitoringCycle(
            report=report,
            path=path,
            params=settings.model_dump(exclude={"directory"}) | {"model_version": report.model_version},
            metrics=metrics,
            datasets={"production": (source, _sha256(columns, outcome))},
            artifacts={path.name: json.dumps(report.to_json(), indent=2)},
        )

    def check(self, bundle: Bundle, columns: Columns, outcome: NDArray[np.float64], *, source: str = "") -> Report:
        """Return the report of a batch without writing anything."""
        settings = self._settings.monitoring
        level = settings.drift_threshold
        probability = bundle.predict(columns).probability if outcome.size else np.empty(0)
        batch = {
            column.name: ColumnProfile.fit(columns.get(column.name, np.empty(0)))
            for column in bundle.schema.model_inputs
        }
        tests = []
        for column in bundle.schema.model_inputs:
            test = ks_test if column.numeric else chi_square_test
            tests.append(test(column.name, bundle.reference[column.name], batch[column.name], level))
        target = bundle.schema.target.name
        performance = measure_performance(
            probability, outcome, promised=None, churn_threshold=bundle.threshold, settings=settings,
            coverage=LabelCoverage(outcome.size, outcome.size, int((~np.isnan(outcome)).sum())),
            evaluation=self._settings.evaluation, seed=self._settings.random_state,
        )  # fmt: skip
        told = [test.drifted for test in tests if test.drifted is not None]
        rate = sum(told) / len(told) if told else None
        reference, scores = (
            bundle.reference[SCORE].coarse(SCORE_EDGES),
            ColumnProfile.fit(probability).coarse(SCORE_EDGES),
        )
        prediction = ks_test(SCORE, reference, scores, level, floor=SCORE_FLOOR)
        labels = chi_square_test(target, bundle.reference[target], ColumnProfile.fit(outcome), level)
        return Report(
            timestamp=datetime.now(UTC),
            model_version=bundle.version_name,
            source=source,
            rows=outcome.size,
            performance=performance,
            columns=tuple(tests),
            drift_rate=rate,
            prediction_drift=prediction,
            target_drift=labels,
            reasons=tuple(_reasons(performance, rate, settings.drift_rate_threshold, prediction, labels)),
        )


def _sha256(columns: Columns, outcome: NDArray[np.float64]) -> str:
    digest = hashlib.sha256(outcome.tobytes())
    for name in sorted(columns):
        digest.update(name.encode() + columns[name].tobytes())
    return digest.hexdigest()


def _reasons(
    performance: Performance, rate: float | None, allowed: float, prediction: DriftTest, labels: DriftTest
) -> list[str]:
    """Return the triggers that fired, in words; any of the four recommends retraining."""
    reasons = []
    if performance.decline.below:
        reasons.append(f"performance: {performance.decline.reason}")
    if rate is not None and rate > allowed:
        reasons.append(f"feature drift: {rate:.0%} of the columns drifted, more than {allowed:.0%}")
    if prediction.drifted:
        reasons.append(f"score drift: {prediction.reason}")
    if labels.drifted:
        reasons.append(f"label drift: {labels.reason}")
    return reasons
