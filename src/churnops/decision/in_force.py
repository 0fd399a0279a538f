"""The decision policy in force: the newest one in the journal. A change is in effect at once, and is never lost."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnops.decision.policy import DecisionPolicy
from churnops.errors import JournalError, PolicyError
from churnops.model import Bundle
from churnops.words import one_line

if TYPE_CHECKING:  # loading SQLAlchemy takes longer than scoring a small file
    from churnops.journal.policies import PolicyLog, RecordedPolicy

MAX_REASON, MAX_BY = 2000, 200  # characters
_SQLITE = "sqlite:///"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def newest_policy(log: "PolicyLog") -> DecisionPolicy:
    """Return the policy in force; version 0 if nobody has set one."""
    recorded = log.newest()
    return policy_of(recorded[0]) if recorded else DecisionPolicy()


def policy_of(recorded: "RecordedPolicy") -> DecisionPolicy:
    """Return the policy of an entry of the log."""
    return _policy(recorded.terms, recorded.version, recorded.at, recorded.by, recorded.reason)


def _policy(terms: Mapping[str, Any], version: int, at: datetime, by: str, reason: str) -> DecisionPolicy:
    by = one_line(by, MAX_BY)  # no recorded name may keep a policy from being read
    return DecisionPolicy.read({**terms, "version": version, "at": at, "by": by, "reason": reason})


def set_policy(
    log: "PolicyLog", policy: DecisionPolicy, *, by: str, reason: str, after: int | None = None
) -> DecisionPolicy:
    """Record a policy, which is in force from now on; return it with its version.

    Parameters
    ----------
    after
        Version that the policy changes. None: it is a policy of its own.

    Raises
    ------
    PolicyError
        If there is no reason, the policy is the one in force already, or another one than `after` is in force.
    """
    reason = one_line(reason, MAX_REASON + 1)
    if not reason or len(reason) > MAX_REASON:
        raise PolicyError(f"a change of the decision policy needs a reason of 1 to {MAX_REASON:,} characters")
    current = newest_policy(log)
    if current.terms() == policy.terms():
        name = f"version {current.version}" if current.is_set else "the model's own threshold"
        raise PolicyError(f"this policy is in force already ({name}): nothing was changed")
    return policy_of(log.add(policy.terms(), one_line(by, MAX_BY), reason, after=after))


def earlier_policy(log: "PolicyLog", version: int | None = None) -> DecisionPolicy:
    """Return an earlier policy: a version (0: before anybody set one), or the one before the policy in force.

    Raises
    ------
    PolicyError
        If nobody has set a policy, or the version does not exist.
    """
    current = newest_policy(log)
    if not current.is_set:
        raise PolicyError("nobody has set a decision policy, so there is none to go back to")
    number = current.version - 1 if version is None else version
    if number == 0:
        return DecisionPolicy()
    recorded = log.version(number) if number <= current.version else None
    if recorded is None:
        raise PolicyError(f"there is no version {number} of the decision policy: versions are 0 to {current.version}")
    return policy_of(recorded)


def under_policy(bundle: Bundle, policy: DecisionPolicy) -> Bundle:
    """Return a model with the threshold of a policy."""
    threshold = policy.threshold_for(bundle.own_threshold)
    if (threshold, policy.version) == (bundle.threshold, bundle.decision_version):
        return bundle
    return bundle.under_policy(threshold, policy.version)


def policy_at(url: str) -> DecisionPolicy:
    """Return the policy in force from the journal's address, without migrating or creating a journal.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    if not url.startswith(_SQLITE):
        from churnops.journal.policies import newest_at

        recorded = newest_at(url)
        return policy_of(recorded) if recorded else DecisionPolicy()
    path = Path(url.removeprefix(_SQLITE).partition("?")[0])
    return _in_file(path) if path.is_file() else DecisionPolicy()


def _in_file(path: Path) -> DecisionPolicy:
    """Read a SQLite file by Python's own driver, because loading SQLAlchemy takes longer than scoring a small file."""
    try:
        try:
            row = _newest_row(path, "mode=rw")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            row = _newest_row(path, "immutable=1")  # a folder that cannot be written, in which SQLite makes no log
    except sqlite3.Error as error:
        raise JournalError(f"the decision policy cannot be read: the journal's database failed: {error}") from None
    if row is None:
        return DecisionPolicy()
    version, at, by, reason, terms = row
    return _policy(json.loads(terms), version, _EPOCH + timedelta(microseconds=at), by, reason)


def _newest_row(path: Path, options: str) -> tuple[Any, ...] | None:
    query = "SELECT version, at, by, reason, terms FROM policies ORDER BY version DESC LIMIT 1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, timeout=10.0)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'policies'").fetchone():
            return None  # a journal of an older version
        row: tuple[Any, ...] | None = connection.execute(query).fetchone()
        return row
