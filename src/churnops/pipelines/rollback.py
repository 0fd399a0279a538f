"""Roll back to an earlier model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churnops.alerting.alarms import rollback
from churnops.alerting.alerts import Alerts
from churnops.experiments.experiment import end_overtaken
from churnops.model import Bundle
from churnops.pipelines.aftermath import Aftermath
from churnops.pipelines.recovery import recover
from churnops.pipelines.webhook import NO_WEBHOOK, send_production
from churnops.project import Project
from churnops.registry.folder import UnfinishedDeploymentError, who
from churnops.settings import Settings
from churnops.traces import operation, span


@dataclass(frozen=True)
class RolledBack:
    """Result of a rollback: the restored version, and `left`, the folder of the model that it replaced.

    `warning` names failures after the link swap, and unfinished work.
    """

    version: int
    model_version: str
    folder: Path
    left: str | None
    reason: str
    warning: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "version": self.version,
            "model_version": self.model_version,
            "production": str(self.folder),
            "left": self.left,
            "reason": self.reason,
            "warning": self.warning,
        }


@operation("churnops rollback")
def roll_back(settings: Settings, to: int | None = None, reason: str = "") -> RolledBack:
    """Roll back to an earlier model, and announce it to the alert channels.

    MLflow is used only after the rollback, because it takes seconds to load and its store may be down.

    Parameters
    ----------
    to
        A version. Default: the model that the present one replaced.

    Raises
    ------
    ChurnopsError
        If there is no earlier model, or its files are damaged. Nothing has changed then.
    """
    reason, aftermath = reason or "no reason given", Aftermath()
    with Project.open(settings) as project:
        deployed = project.folder
        with deployed.locked():
            left = deployed.current()
            target = deployed.rollback_target(None if to is None else deployed.folder_of(to))
            try:
                with span("deploy"):
                    deployed.rollback(target.folder, reason)
            except UnfinishedDeploymentError as error:  # the rollback happened nevertheless
                aftermath.add(str(error))
            folder = deployed.link.resolve()
        aftermath.deployed = True
        name = folder.name
        with aftermath.warning("no alert was sent"):
            name = Bundle.load(folder).version_name
            Alerts.of(settings, project.alerts).announce(rollback(name, reason, ""))
        with aftermath.warning("the running experiment has not ended"):
            end_overtaken(project, Bundle.load(folder), who())
        with aftermath.warning(NO_WEBHOOK):
            send_production(project)
        with aftermath.warning("the deployment log is not complete yet"):
            aftermath.add(recover(project)[1])
    return RolledBack(target.version, name, folder, left, reason, aftermath.text)
