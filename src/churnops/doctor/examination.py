"""Examine a project: all checks, one after another; a check that fails becomes a finding."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from churnops.doctor import journal, machine, model, monitoring, tracking
from churnops.doctor.finding import Check, NotCheckedError, ProjectFinding
from churnops.errors import JournalError, reason_of
from churnops.settings import Settings

CHECKS: Mapping[str, Check] = {
    "journal": journal.journal,
    "deployed model": model.deployed_model,
    "model store": model.model_store,
    "deployments": model.deployments,
    "experiment": model.experiment,
    "replicas": model.replicas,
    "clock": journal.clock,
    "locks": model.locks,
    "MLflow": tracking.mlflow,
    "model health": monitoring.health,
    "schedule": monitoring.schedule,
    "alerts": monitoring.alerts,
    "disk": machine.disk,
    "permissions": machine.permissions,
    "ports": machine.ports,
    "scorings": machine.unfinished,
}
_NOT_CHECKED = ProjectFinding("not checked, because the journal cannot be read", "churnops doctor", wrong=False)


@dataclass(frozen=True)
class Examination:
    """Findings of each check, in the order of the checks; no findings if all is well."""

    findings: Mapping[str, tuple[ProjectFinding, ...]]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong; notes do not count."""
        return not any(finding.wrong for findings in self.findings.values() for finding in findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        rows = [{"check": name, **asdict(finding)} for name, items in self.findings.items() for finding in items]
        return {"well": self.well, "checks": list(self.findings), "findings": rows}


def examine(settings: Settings) -> Examination:
    """Examine a project without changing it."""
    parts = journal.open_parts(settings)
    try:
        results: dict[str, tuple[ProjectFinding, ...]] = {}
        for name, check in CHECKS.items():
            try:
                results[name] = tuple(check(parts))
            except Exception as error:  # a broken check must not hide the others
                unreadable = isinstance(error, NotCheckedError) or (
                    isinstance(error, JournalError) and results.get("journal")
                )
                failed = ProjectFinding(f"this check failed: {reason_of(error)}", "churnops config check")
                results[name] = (_NOT_CHECKED if unreadable else failed,)
        return Examination(results)
    finally:
        if parts.engine is not None:
            parts.engine.dispose()
