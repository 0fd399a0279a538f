"""Actions of the Experiments page, each with an admin key: start, stop and promote."""

import logging
from typing import Literal

from churnops.errors import RegistryError
from churnops.journal.experiments import Kind
from churnops.project import Project
from churnops.settings import Settings

log = logging.getLogger("churnops.app")

Action = Literal["start", "stop", "promote"]


def with_approval(project: Project, token: str) -> Settings:
    """Return the settings with the approval of an admin key, for steps that ask for one."""
    registry = project.settings.registry.model_copy(update={"approval_key": token.strip()})
    return project.settings.model_copy(update={"registry": registry})


def start(settings: Settings, kind: Kind, version: int, share: float, reason: str) -> str:
    """Start an experiment; return the result as a sentence."""
    if kind == "split":
        from churnops.experiments.split import start_split

        with Project.open(settings) as project:
            number = start_split(project, version, share, reason).id
    else:
        from churnops.pipelines.shadow import start_shadow

        number = start_shadow(settings, version, share, reason).id
    log.warning("%s %d was started in the dashboard: %s", kind, number, reason)
    return f"{kind.capitalize()} {number} of version {version} has started."


def stop(settings: Settings, kind: Kind, reason: str) -> str:
    """Stop the running experiment; return the result as a sentence."""
    if kind == "split":
        from churnops.experiments.split import stop_split

        with Project.open(settings) as project:
            number = stop_split(project, reason).id
    else:
        from churnops.pipelines.shadow import stop_shadow

        number = stop_shadow(settings, reason).id
    log.warning("%s %d was stopped in the dashboard: %s", kind, number, reason)
    return f"{kind.capitalize()} {number} has stopped. The deployed model answers all customers."


def promote(settings: Settings, version: int, reason: str) -> str:
    """Deploy a version if the gate permits it; return the result as a sentence.

    Raises
    ------
    RegistryError
        If the gate refuses it, or the deployment failed its check.
    """
    from churnops.pipelines.promote import promote as promote_version

    done = promote_version(settings, version, reason)
    if done.status not in ("deployed", "unchanged"):
        raise RegistryError(f"version {version} is not deployed: {done.reason}")
    log.warning("version %d was promoted in the dashboard: %s", version, reason)
    return f"Version {version} ({done.model_version}) is deployed: {done.reason}"
