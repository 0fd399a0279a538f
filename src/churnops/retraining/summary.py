"""Summary of a retraining run, and its document."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churnops.files import write_flushed
from churnops.retraining.check import Check
from churnops.retraining.document import SUMMARY_VERSION, SummaryDocument
from churnops.retraining.outcome import Status
from churnops.retraining.pipeline import CHAMPION, Retrained
from churnops.retraining.policy import Cause, Permission


@dataclass(frozen=True)
class RetrainingSummary:
    """Result of a retraining.

    Attributes
    ----------
    because
        Reasons for the request.
    status
        `deployed`: the new model is deployed. `kept`, `cannot tell`: verdict of the gate, the old model stays. `rolled
        back`: the new model failed its check, and the old one is deployed again. `not permitted`: nothing was trained.
        `failed`: the retraining ended with an error.
    reason
        One sentence.
    permission
        The policy's decision.
    champion
        Version name of the deployed model at the start; its folder if the name is not known.
    retrained
        The challenger and the gate's decision; None if nothing was trained.
    version
        Registered version of the challenger.
    failures
        Rules that a table broke.
    demonstration
        Whether simulated customers count in this project.
    """

    started: datetime
    cause: Cause
    because: tuple[str, ...]
    status: Status
    reason: str
    permission: Permission
    champion: str
    retrained: Retrained | None = None
    version: int | None = None
    check: Check | None = None
    warning: str | None = None
    failures: tuple[str, ...] = ()
    run_id: str | None = None
    seconds: Mapping[str, float] | None = None
    demonstration: bool = False

    @property
    def text(self) -> str:
        """Status and reason on one line."""
        return f"{self.status}: {self.reason}"

    def document(self) -> SummaryDocument:
        """Return the document to write; None stands for a missing part."""
        made = self.retrained
        values = {name: value for name, value in vars(self).items() if name != "retrained"}
        values |= {
            "summary_version": SUMMARY_VERSION,
            "challenger": made.challenger.version_name if made else None,
            "rows": dict(made.rows) if made else None,
            "candidates": _candidates(made) if made else None,
            "winner": made.trained.winner if made else None,
            "held_out": _held_out(made) if made else None,
            "decision": made.decision if made else None,
            "skipped": made.skipped if made else None,
            "seconds": dict(self.seconds) if self.seconds else None,
        }
        return SummaryDocument.model_validate(values)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; null stands for a missing part."""
        return self.document().to_json()

    def write(self, folder: Path) -> Path:
        """Write `retraining_summary_<time>.json`, the time in UTC."""
        folder.mkdir(parents=True, exist_ok=True)
        name, content = self.file()
        write_flushed(folder / name, content.encode())
        return folder / name

    def file(self) -> tuple[str, str]:
        """Return the name and the content of the file."""
        name = f"retraining_summary_{self.started.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.json"
        return name, json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"


def _candidates(made: Retrained) -> dict[str, Any]:
    """Return each candidate's scores for the choice, and its ROC-AUC on the held-out rows."""
    return {
        name: {
            "validation": dict(model.bundle.metrics["cross_validation"]),
            "hyperparameters": dict(model.search.best.params),
            "held_out_roc_auc": made.evaluation(name).metrics["roc_auc"].value,
        }
        for name, model in made.trained.models.items()
    }


def _held_out(made: Retrained) -> dict[str, Any]:
    models = {CHAMPION: CHAMPION, "challenger": made.trained.winner}
    return {role: made.evaluation(name).to_json() for role, name in models.items()}
