"""Put a model into production, see through the running API that it answers as it should, and go back if not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churnops.alerting.alarms import deployment, rollback
from churnops.alerting.alerts import Alerts
from churnops.errors import ChurnopsError, RegistryError, reason_of
from churnops.journal.decisions import RecordedDecision
from churnops.model import Bundle
from churnops.pipelines.aftermath import Aftermath
from churnops.project import Project
from churnops.registry import DeploymentFolder, Registry
from churnops.registry.folder import UnfinishedDeploymentError
from churnops.retraining.check import Check, check_deployment
from churnops.retraining.gate import Decision


@dataclass(frozen=True)
class Placed:
    """What became of a deployment.

    Attributes
    ----------
    folder
        Of the model that answers now.
    check
        What the running API said; None if no `retraining.check_url` is set.
    rolled_back
        Whether the check failed, so that the model from before answers again.
    warning
        What failed after the link was swapped, or is still to be done; None if nothing.
    """

    folder: Path
    check: Check | None
    rolled_back: bool
    warning: str | None = None

    def reason(self, reason: str) -> str:
        """Return why what answers now does: the deployment's reason, and before it why it was gone back from."""
        return f"{self.check.reason}; {reason}" if self.check and self.rolled_back else reason

    @property
    def to_tell(self) -> str | None:
        """The warning, and why the check was not passed, where the deployment stays all the same."""
        stays = self.check is not None and self.check.status != "passed" and not self.rolled_back
        return "; ".join(filter(None, [self.warning, self.check.reason if self.check and stays else None])) or None


def put_into_production(
    project: Project,
    registry: Registry,
    bundle: Bundle,
    version: int,
    reason: str,
    facts: Sequence[str],
    *,
    by: str | None = None,
) -> Placed:
    """Deploy a registered version, check it through the API of `retraining.check_url`, and tell the alert channels.

    Call it `registry.deployed.locked()`.

    Parameters
    ----------
    facts
        What the channels are told beside the reason.

    Raises
    ------
    ChurnopsError
        If it cannot be deployed, and then nothing has changed; or if it failed its check and the model from before
        cannot come back, which the channels are told: it answers then.
    """
    deployed, options = registry.deployed, project.settings.retraining
    alerts = Alerts.of(project.settings, project.alerts)
    before, aftermath = deployed.current(), Aftermath()
    try:
        deployed.deploy(bundle, version, reason, by)
    except UnfinishedDeploymentError as error:  # it answers all the same
        aftermath.add(str(error))
    aftermath.deployed = True
    check = None
    with aftermath.warning("the check through the API was not made"):
        if options.check_url:
            check = check_deployment(bundle, options.check_url, key=options.check_key, seconds=options.check_seconds)
    if check is not None and check.status == "failed" and before is not None:
        _go_back(deployed, alerts, bundle, check, by, aftermath)
        return Placed(deployed.link.resolve(), check, True, aftermath.text)
    with aftermath.warning("the alert channels do not know"):
        alerts.announce(deployment(bundle.version_name, reason, [*facts, *([check.reason] if check else [])], ""))
    return Placed(deployed.link.resolve(), check, False, aftermath.text)


def _go_back(
    deployed: DeploymentFolder, alerts: Alerts, bundle: Bundle, check: Check, by: str | None, aftermath: Aftermath
) -> None:
    """Go back from a deployment that failed its check, and tell the alert channels."""
    why = f"{bundle.version_name} failed its check through the API: {check.reason}"
    try:
        restored = deployed.rollback(None, why, by)
    except UnfinishedDeploymentError as error:
        aftermath.add(str(error))
        restored = deployed.link.resolve()
    except (ChurnopsError, OSError) as error:
        stuck = f"the model from before cannot come back: {reason_of(error)}"
        with aftermath.warning("the alert channels do not know"):
            alerts.announce(deployment(bundle.version_name, why, [stuck], "", severity="critical"))
        raise RegistryError("; ".join(filter(None, [why, stuck, aftermath.text]))) from None
    with aftermath.warning("the alert channels do not know"):
        alerts.announce(rollback(Bundle.load(restored).version_name, why, ""))


def record_decision(
    project: Project,
    decision: Decision,
    challenger: Bundle,
    champion: Bundle,
    *,
    evidence: Mapping[str, Any] | None = None,
) -> None:
    """Keep a decision of the gate in the journal; `evidence` says what a retraining looked at, for the next one."""
    details = decision.to_json() | ({} if evidence is None else {"evidence": dict(evidence)})
    project.decisions.record(
        RecordedDecision(
            datetime.now(UTC),
            "deploy",
            decision.verdict,
            decision.reason,
            champion.content_sha256,
            challenger.content_sha256,
            details,
        )
    )
