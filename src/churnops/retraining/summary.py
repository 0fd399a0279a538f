"""Summary: what a retraining did and why, as one JSON document with a version."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churnops.files import write_flushed
from churnops.retraining.check import Check
from churnops.retraining.outcome import Status
from churnops.retraining.pipeline import CHAMPION, Retrained
from churnops.retraining.policy import Cause, Permission

SUMMARY_VERSION = 1


@dataclass(frozen=True)
class RetrainingSummary:
    """What a retraining did.

    Attributes
    ----------
    because
        Reasons it was asked for.
    status
        `deployed`: the new model answers. `kept`, `cannot tell`: the old one does, by the gate's verdict. `rolled
        back`: the old one does again, as the new one failed its check. `not permitted`: nothing was trained. `failed`:
        it ended with an error; the old model answers, unless the alert says otherwise.
    reason
        In words.
    permission
        The policy's decision.
    champion
        Version name of the model that was in production when it began; its folder, where that is all that is known.
    retrained
        What was trained and decided; None if it did not come to that.
    version
        Under which the challenger is registered.
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
        """What came of it, in a line."""
        return f"{self.status}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; what there is none of is None."""
        found = self.retrained
        return {
            "summary_version": SUMMARY_VERSION,
            "started": self.started.astimezone(UTC).isoformat(timespec="seconds"),
            "cause": self.cause,
            "because": list(self.because),
            "status": self.status,
            "reason": self.reason,
            "permission": {"value": self.permission.value, "reasons": list(self.permission.reasons)},
            "demonstration": self.demonstration,
            "champion": self.champion,
            "challenger": found.challenger.version_name if found else None,
            "version": self.version,
            "rows": dict(found.rows) if found else None,
            "candidates": _candidates(found) if found else None,
            "winner": found.trained.winner if found else None,
            "held_out": {CHAMPION: _held_out(found, CHAMPION), "challenger": _held_out(found, found.trained.winner)}
            if found
            else None,
            "decision": found.decision.to_json() if found else None,
            "check": self.check.to_json() if self.check else None,
            "warning": self.warning,
            "failures": list(self.failures),
            "run_id": self.run_id,
            "seconds": dict(self.seconds) if self.seconds else None,
        }

    def write(self, folder: Path) -> Path:
        """Write `retraining_summary_<time>.json`, the time in UTC."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"retraining_summary_{self.started.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.json"
        write_flushed(path, (json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n").encode())
        return path


def _candidates(found: Retrained) -> dict[str, Any]:
    """Return the scores that candidates were chosen by, and what each was worth on the held-out rows."""
    return {
        name: {
            "validation": dict(model.bundle.metrics["cross_validation"]),
            "hyperparameters": dict(model.search.best.params),
            "held_out_roc_auc": _held_out(found, name)["metrics"]["roc_auc"]["value"],
        }
        for name, model in found.trained.models.items()
    }


def _held_out(found: Retrained, name: str) -> dict[str, Any]:
    return found.evaluation(name).to_json()
