"""Set the decision policy, or go back to an earlier one."""

from collections.abc import Mapping
from typing import Any

from churnops.decision.in_force import earlier_policy, newest_policy, set_policy
from churnops.decision.policy import DecisionPolicy
from churnops.model.deployed import deployed
from churnops.project import Project
from churnops.registry.folder import who

LIMITS = ("budget", "contacts")
"""A policy has at most one of these."""


def change_policy(project: Project, changes: Mapping[str, Any], reason: str, by: str | None = None) -> DecisionPolicy:
    """Set a policy that differs from the one in force in some fields, and return it.

    Parameters
    ----------
    changes
        New values by the names of `DecisionPolicy`; None removes a value. A budget replaces a number of contacts, and
        the other way round.
    by
        Person who changes it. None: the user.

    Raises
    ------
    PolicyError
        If the policy is not valid, is in force already, was changed by others meanwhile, or there is no reason.
    """
    current = newest_policy(project.policies)
    return _set(project, changed(current, changes), reason, by, after=current.version)


def changed(policy: DecisionPolicy, changes: Mapping[str, Any]) -> DecisionPolicy:
    """Return a policy with other values in some fields, see `change_policy`."""
    terms = policy.terms()
    if any(changes.get(name) is not None for name in LIMITS):
        terms = {name: value for name, value in terms.items() if name not in LIMITS}
    return DecisionPolicy.read({name: value for name, value in {**terms, **changes}.items() if value is not None})


def revert_policy(project: Project, version: int | None, reason: str, by: str | None = None) -> DecisionPolicy:
    """Set the policy of an earlier version as the newest one, and return it; see `earlier_policy`."""
    earlier = earlier_policy(project.policies, version)
    return _set(project, earlier, f"back to version {earlier.version}: {reason}", by)


def _set(
    project: Project, policy: DecisionPolicy, reason: str, by: str | None, after: int | None = None
) -> DecisionPolicy:
    project.place.refresh()
    bundle = deployed(project.models)
    policy = policy.in_table(project.settings.table if bundle is None else bundle.schema)
    return set_policy(project.policies, policy, by=by or who(), reason=reason, after=after)
