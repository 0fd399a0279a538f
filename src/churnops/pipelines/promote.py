"""Promote a registered version."""

from churnops.pipelines.release import Gate, Release, ReleaseCandidate, check_replaceable, release
from churnops.project import Project
from churnops.registry import Registry
from churnops.settings import Settings
from churnops.tracking import Tracker


def promote(settings: Settings, version: int, reason: str, *, force: bool = False) -> Release:
    """Deploy a registered version if the gate permits it.

    Parameters
    ----------
    reason
        A person's reason, for the deployment log; the gate's reason is added.
    force
        Deploy the version even if the gate refuses it or fails.

    Raises
    ------
    ChurnopsError
        If there is no such version, or its files are damaged. See `release` for other causes.
    """
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        candidate = ReleaseCandidate(registry.bundle(version), version, reason, otherwise="refused")
        with registry.deployed.locked():
            registry.deployed.recover()
            gate: Gate = "overrule" if force else "ask"
            check_replaceable(registry.deployed, gate, "--force replaces it without asking the gate")
            return release(project, registry, candidate, gate=gate)
