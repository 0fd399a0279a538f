"""Compare two registered versions on the same labelled customers. Nothing is deployed or recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churnops.data.validate import check_customers
from churnops.errors import DataError, RegistryError
from churnops.project import Project
from churnops.registry import Registry
from churnops.retraining.comparison import cannot_tell, judge, new_production_rows, new_rows
from churnops.retraining.gate import Decision
from churnops.scoring.customers import as_table
from churnops.settings import GateMetric, Settings
from churnops.settings.sections import MIN_IMPROVEMENTS
from churnops.tracking import Tracker

CONFIDENCE = 0.95
"""Confidence of the bounds if the gate has none."""
BOOTSTRAP_ROWS = 20_000
"""Up to so many rows, average precision is compared too: its bootstrap takes seconds, and minutes for 100,000 rows."""


@dataclass(frozen=True)
class ComparedVersions:
    """Result of a comparison of two versions on the same rows.

    Attributes
    ----------
    first, second
        Number of each version, and its name in answers.
    decision
        Decision of the gate on the second version if the first were deployed.
    gains
        The same comparison in each metric of the gate, with bounds even if the gate has none; empty without rows.
    """

    first: tuple[int, str]
    second: tuple[int, str]
    decision: Decision
    gains: Sequence[Decision]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        names = ("champion", "challenger", "gain", "standard_error", "low", "high", "confidence")
        return {
            "champion": dict(zip(("version", "model_version"), self.first, strict=True)),
            "challenger": dict(zip(("version", "model_version"), self.second, strict=True)),
            "rows": self.decision.rows,
            "churned": self.decision.churned,
            "metrics": {gain.metric: {name: getattr(gain, name) for name in names} for gain in self.gains},
            "gate": self.decision.to_json(),
        }


def compare_versions(settings: Settings, first: int, second: int, table: Path | None = None) -> ComparedVersions:
    """Compare two versions by the statistics of the gate, on labelled customers that neither was trained on.

    Parameters
    ----------
    first, second
        Versions; a gain is positive if `second` is better.
    table
        File of labelled customers. None: the customers of the journal or of `data.production`, as in the gate.

    Raises
    ------
    ChurnopsError
        If there is no such version, it has no files, or the table breaks the Schema.
    """
    if first == second:
        raise RegistryError(f"version {first} is compared with itself: give two versions")
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        champion, challenger = registry.bundle(first), registry.bundle(second)
        names = (first, champion.version_name), (second, challenger.version_name)
        customers = None
        if table is not None:
            given = as_table(table, settings.table)
            customers = check_customers(given, settings.table, str(table), keep_outcome=True, may_have_gaps=True)
        try:
            if customers is None:
                rows = new_production_rows(project, challenger, champion)
            else:
                rows = new_rows(project, customers, challenger, champion)
            decision = judge(rows, challenger, champion, settings)
            metrics = _metrics(rows.outcome.size, settings)
            gains = [judge(rows, challenger, champion, _by(metric, settings)) for metric in metrics]
        except DataError as error:
            return ComparedVersions(*names, cannot_tell(str(error).partition("\n")[0], settings), ())
    return ComparedVersions(*names, decision, gains)


def _metrics(rows: int, settings: Settings) -> list[GateMetric]:
    """Return the metrics in which the versions are compared."""
    own = settings.retraining.metric
    fast = rows <= BOOTSTRAP_ROWS
    return [metric for metric in MIN_IMPROVEMENTS if rows and (fast or metric in (own, "roc_auc", "log_loss"))]


def _by(metric: GateMetric, settings: Settings) -> Settings:
    """Return the settings with another metric of the gate, and a confidence."""
    changes = {"metric": metric, "confidence": settings.retraining.confidence or CONFIDENCE}
    return settings.model_copy(update={"retraining": settings.retraining.model_copy(update=changes)})
