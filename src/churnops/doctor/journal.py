"""Checks of the journal: whether it answers, its version, its integrity, and times ahead of this machine's clock."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from shlex import quote

from churnops.doctor.finding import Parts, ProjectFinding
from churnops.errors import JournalError
from churnops.journal.clock import TOLERANCE, database_time, entries_ahead
from churnops.journal.database import answering
from churnops.journal.tables import SCHEMA_VERSION
from churnops.journal.unchanged import damage, open_unchanged, sqlite_path, stored_version
from churnops.settings import Settings

MAX_CHECKED_BYTES = 300 * 2**20
"""Size up to which the structure of a SQLite journal is checked: about a second of reading."""

_LOG_BYTES = 2**20
"""Free space without which SQLite may be unable to open the journal: it makes files beside it."""

_CLOCK = "timedatectl set-ntp true"


def open_parts(settings: Settings) -> Parts:
    """Open the parts of a project for reading only."""
    url = settings.database_url(settings.journal.url)
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return Parts(settings)
    try:
        engine = open_unchanged(url)
        version = stored_version(engine)
    except JournalError as error:
        return Parts(settings, problem=str(error))
    if version == SCHEMA_VERSION:
        return Parts(settings, engine, version)
    engine.dispose()
    return Parts(settings, None, version)


def journal(parts: Parts) -> Iterator[ProjectFinding]:
    """Check that the journal can be read, is undamaged, and has tables of this version."""
    path = sqlite_path(parts.settings.database_url(parts.settings.journal.url))
    restore = "churnops journal restore BACKUP" if path else "pg_isready"
    version = parts.version
    if parts.problem and path and shutil.disk_usage(path.parent).free < _LOG_BYTES:
        yield ProjectFinding(
            f"{parts.problem}: its disk is full, so free some space", f"df -h {quote(str(path.parent))}"
        )
    elif parts.problem:
        yield ProjectFinding(parts.problem, restore)
    elif version is None and parts.place.current() is not None:
        yield ProjectFinding(
            f"a model is deployed, but its journal {path or 'in the database server'} is missing", restore
        )
    elif version is not None and version > SCHEMA_VERSION:
        message = f"a newer churnops wrote the journal: its tables have version {version}, this one reads"
        yield ProjectFinding(f"{message} {SCHEMA_VERSION}", "python -m pip install --upgrade churnops")
    elif version is not None and version != SCHEMA_VERSION:
        message = f"the journal's tables have version {version}, and this churnops writes {SCHEMA_VERSION}"
        yield ProjectFinding(message, "churnops upgrade")
    if parts.engine is not None and path is not None and path.stat().st_size <= MAX_CHECKED_BYTES:
        try:
            problem = damage(parts.engine)
        except JournalError as error:
            problem = str(error)
        if problem:
            yield ProjectFinding(f"the journal {path} is damaged: {problem}", restore)


def clock(parts: Parts) -> Iterator[ProjectFinding]:
    """Compare this machine's clock with the journal's newest entries, and with the clock of its server."""
    if (engine := parts.journal()) is None:
        return
    now = datetime.now(UTC)
    with answering(), engine.connect() as connection:
        ahead = database_time(connection) - now
    if abs(ahead) > TOLERANCE:
        minutes = abs(ahead.total_seconds()) / 60
        side = "behind" if ahead.total_seconds() > 0 else "ahead of"
        yield ProjectFinding(
            f"this machine's clock is {minutes:,.0f} minutes {side} that of the journal's server", _CLOCK
        )
    for message in entries_ahead(engine, now):
        yield ProjectFinding(message, _CLOCK)
