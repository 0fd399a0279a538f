"""Promote a registered version, if the gate lets it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from churnops.errors import BundleError, ChurnopsError
from churnops.journal import RecordedDecision
from churnops.model import Bundle
from churnops.pipelines.deploying import put_into_production, record_decision
from churnops.project import Project
from churnops.registry import Registry
from churnops.retraining.comparison import compare_with_production
from churnops.retraining.gate import Decision
from churnops.settings import Settings
from churnops.tracking import Tracker


@dataclass(frozen=True)
class Promotion:
    """What became of a version that was to be promoted.

    Attributes
    ----------
    status
        `refused`: the gate does not let it through, and nothing has changed. `rolled back`: it was deployed, the
        running API did not answer as it should, and the model from before answers again.
    folder
        Of the model that answers now.
    decision
        The gate's; None where it was not asked, because nothing was in production, or the same content, or what was
        there is damaged.
    warning
        What is still to be done.
    """

    status: Literal["deployed", "unchanged", "refused", "rolled back"]
    version: int
    model_version: str
    folder: Path
    reason: str
    decision: Decision | None = None
    warning: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "status": self.status,
            "version": self.version,
            "model_version": self.model_version,
            "production": str(self.folder),
            "reason": self.reason,
            "warning": self.warning,
            "gate": self.decision.to_json() if self.decision else None,
        }


def promote(settings: Settings, version: int, reason: str, *, force: bool = False) -> Promotion:
    """Put a registered version into production, if the gate lets it.

    The gate's decision is recorded, also a refusal; a deployment is told to the alert channels.

    Parameters
    ----------
    reason
        Why, for the deployment log; what the gate said is added.
    force
        Deploy whatever the gate says, or if it cannot be asked.

    Raises
    ------
    ChurnopsError
        If there is no such version, its files are damaged, or the gate cannot be asked. Nothing has changed.
    """
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        bundle = registry.bundle(version)
        with registry.deployed.locked():
            registry.deployed.recover()
            return _promote(project, registry, bundle, version, reason, force)


def _promote(project: Project, registry: Registry, bundle: Bundle, version: int, reason: str, force: bool) -> Promotion:
    """Ask the gate, and deploy or not. Call it locked."""
    decision = None
    try:
        champion = registry.deployed.production()
    except BundleError as error:
        if not force:
            raise BundleError(f"{error}; --force replaces it without asking the gate") from None
        said = "the model in production was damaged"
    else:
        if champion is None:
            said = "no model was in production"
        elif champion.content_sha256 == bundle.content_sha256:
            registry.name_production(bundle.content_sha256)  # a new or emptied store does not know yet
            said = "production has the same content already"
            return Promotion("unchanged", version, bundle.version_name, registry.deployed.link.resolve(), said)
        else:
            decision, said = _ask(project, bundle, champion, force)
            if not force and not (decision and decision.deploy):
                folder = registry.deployed.link.resolve()
                return Promotion("refused", version, bundle.version_name, folder, said, decision)
    reason = f"{reason}; {said}"
    placed = put_into_production(project, registry, bundle, version, reason, [])
    return Promotion(
        "rolled back" if placed.rolled_back else "deployed",
        version,
        bundle.version_name,
        placed.folder,
        placed.reason(reason),
        decision,
        placed.to_tell,
    )


def _ask(project: Project, challenger: Bundle, champion: Bundle, force: bool) -> tuple[Decision | None, str]:
    """Ask the gate and record what it says; return it, and in words what it means for the deployment."""
    try:
        decision = compare_with_production(project, challenger, champion)
    except ChurnopsError as error:
        if not force:
            raise
        contents = (champion.content_sha256, challenger.content_sha256)
        recorded = RecordedDecision(datetime.now(UTC), "deploy", "cannot tell", str(error), *contents)
        project.decisions.record(recorded)
        return None, f"against the gate, which could not be asked: {error}"
    record_decision(project, decision, challenger, champion)
    if decision.deploy:
        return decision, f"the gate agrees: {decision.reason}"
    return decision, f"against the gate: {decision.reason}" if force else decision.reason
