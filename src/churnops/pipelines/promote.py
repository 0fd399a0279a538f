"""Promote a registered version."""

from collections.abc import Iterable

from churnops.data.accepted import leaks_named
from churnops.pipelines.release import Gate, Release, ReleaseCandidate, check_replaceable, release
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.approval import approver_of
from churnops.settings import Settings
from churnops.traces import operation
from churnops.tracking import Tracker


@operation("churnops promote")
def promote(
    settings: Settings, version: int, reason: str, *, force: bool = False, accept_leak: Iterable[str] = ()
) -> Release:
    """Deploy a registered version if the gate permits it.

    Parameters
    ----------
    reason
        A person's reason, for the deployment log; the gate's reason is added.
    force
        Deploy the version even if the gate refuses it or fails.
    accept_leak
        Names or headers of leaking columns with which the version may be deployed.

    Raises
    ------
    ChurnopsError
        If there is no such version, its files are damaged, `accept_leak` has a name that is no input, or the key for
        the approval is missing. See `release` for other causes.
    """
    with Project.open(settings) as project:
        approver = approver_of(settings, project.keys)
        registry = Registry(Tracker(settings), project.folder)
        bundle = registry.bundle(version)
        accepted = leaks_named(bundle.schema, accept_leak)
        candidate = ReleaseCandidate(
            bundle,
            version,
            reason,
            by=approver and f"{approver} (API key)",
            otherwise="refused",
            accepted_leaks=accepted,
            approved=approver is not None,
        )
        with registry.deployed.locked():
            registry.deployed.recover()
            gate: Gate = "overrule" if force else "ask"
            check_replaceable(registry.deployed, gate, "--force replaces it without asking the gate")
            return release(project, registry, candidate, gate=gate)
