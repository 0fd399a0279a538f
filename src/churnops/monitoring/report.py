"""Report: one monitoring cycle's findings as a JSON document with a version."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churnops.monitoring.drift import DriftTest
from churnops.monitoring.performance import Performance

REPORT_VERSION = 1


@dataclass(frozen=True)
class Report:
    """What a cycle found in the batch from `source`.

    `drift_rate` is the share of drifted columns among those that could be tested.
    """

    timestamp: datetime
    model_version: str
    source: str
    rows: int
    performance: Performance
    columns: tuple[DriftTest, ...]
    drift_rate: float | None
    prediction_drift: DriftTest
    target_drift: DriftTest
    reasons: tuple[str, ...]

    @property
    def recommend_retraining(self) -> bool:
        """Whether any trigger fired."""
        return bool(self.reasons)

    def to_json(self) -> dict[str, Any]:
        """Return the document: plain JSON types, None where it cannot be told."""
        decline, evaluation = self.performance.decline, self.performance.evaluation
        performance = {
            "labelled": self.performance.coverage.labelled, "rows": self.rows, "below_threshold": decline.below,
            "reason": decline.reason,
        }  # fmt: skip
        return {
            "report_version": REPORT_VERSION,
            "timestamp": self.timestamp.isoformat(timespec="seconds"),
            "model_version": self.model_version,
            "source": self.source,
            "rows": self.rows,
            "performance": performance | (evaluation.to_json() if evaluation else {"metrics": None}),
            "feature_drift": {
                "drift_rate": self.drift_rate,
                "drifted": [column.name for column in self.columns if column.drifted],
                "columns": [asdict(column) for column in self.columns],
            },
            "prediction_drift": asdict(self.prediction_drift),
            "target_drift": asdict(self.target_drift),
            "recommend_retraining": {"value": self.recommend_retraining, "reasons": list(self.reasons)},
        }

    def write(self, folder: Path) -> Path:
        """Write `monitoring_report_<UTC time>.json`, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"monitoring_report_{self.timestamp.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.json"
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        unfinished.write_text(json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        unfinished.replace(path)
        return path
