"""Rollback from the dashboard: possible versions, and the admin key."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from churnops.app.models.history import clock, model_name
from churnops.app.shared.admin_key import approved
from churnops.app.shared.text import one_line
from churnops.journal.deployment_log import InProduction
from churnops.journal.keys import KeyStore
from churnops.settings import Settings

log = logging.getLogger("churnops.app")


@dataclass(frozen=True)
class Target:
    """A version that a rollback can deploy: it was in production and its folder still exists."""

    version: int
    model: str
    last: datetime

    @property
    def label(self) -> str:
        """Plain text for the list of choices."""
        return one_line(f"Version {self.version}: {self.model}, last in production {clock(self.last)} UTC", 120)


def targets(periods: Sequence[InProduction], current: str | None, kept: Collection[str]) -> list[Target]:
    """Return the versions that a rollback can deploy, last used first.

    Parameters
    ----------
    periods
        Periods in production, oldest first.
    current
        Folder of the deployed model; its version is left out.
    kept
        Names of the folders that still exist.
    """
    answering = {period.deployment.version for period in periods if period.deployment.folder == current}
    by_version: dict[int, Target] = {}
    for period in reversed(periods):
        d = period.deployment
        if d.version not in answering and d.version not in by_version and d.folder in kept:
            by_version[d.version] = Target(d.version, model_name(d), period.until or d.at)
    return list(by_version.values())


def roll_back_to(
    settings: Settings, keys: KeyStore, *, to: int, reason: str, token: str, person: str | None = None
) -> str:
    """Deploy an older version again; return the result as a sentence.

    Parameters
    ----------
    token
        Token of an admin key.
    person
        User who is logged in, for the history.

    Raises
    ------
    RefusedError
        If there is no reason, or the key is refused. Nothing has changed.
    ChurnopsError
        If the version cannot be deployed or is damaged. Nothing has changed.
    """
    from churnops.pipelines.rollback import roll_back

    reason, who = approved(keys, reason, token, person)
    done = roll_back(settings, to, f"{reason} (in the dashboard: {who})")
    log.warning("rolled back to version %d from the dashboard, %s", done.version, who)
    message = f"Version {done.version} ({done.model_version}) is in production again."
    return f"{message} Still to do: {done.warning}" if done.warning else message
