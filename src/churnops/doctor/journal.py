"""Checks of the journal: whether it answers, its version, its integrity, and times ahead of this machine's clock."""

from collections.abc import Iterator
from datetime import UTC, datetime

from churnops.doctor.finding import Finding, Parts
from churnops.errors import ChurnopsError, JournalError
from churnops.journal.clock import TOLERANCE, database_time, entries_ahead
from churnops.journal.database import answering
from churnops.journal.tables import SCHEMA_VERSION
from churnops.journal.unchanged import damage, open_unchanged, sqlite_path, stored_version
from churnops.settings import Settings

MAX_CHECKED_BYTES = 300 * 2**20
"""Size up to which the structure of a SQLite journal is checked: about a second of reading."""

_CLOCK = "timedatectl set-ntp true"


def journal(parts: Parts) -> Iterator[Finding]:
    """Check that the journal can be read, is undamaged, and has tables of this version."""
    settings = parts.settings
    url = settings.database_url(settings.journal.url)
    path = sqlite_path(url)
    if path is not None and not path.exists():
        if parts.place.current() is not None:
            message = f"a model is deployed, but its journal {path} is missing"
            yield Finding(message, "churnops journal restore BACKUP")
        return
    engine = open_unchanged(url)
    try:
        version = stored_version(engine)
        if path is not None and path.stat().st_size <= MAX_CHECKED_BYTES and (damaged := damage(engine)):
            yield Finding(f"the journal {path} is damaged: {damaged}", "churnops journal restore BACKUP")
    except JournalError as error:
        yield Finding(str(error), "churnops journal restore BACKUP" if path else "pg_isready")
        return
    finally:
        engine.dispose()
    if version is not None and version > SCHEMA_VERSION:
        message = f"a newer churnops wrote the journal: its tables have version {version}, this one reads"
        yield Finding(f"{message} {SCHEMA_VERSION}", "python -m pip install --upgrade churnops")
    elif version != SCHEMA_VERSION:
        message = f"the journal's tables have version {version or 'none'}, and this churnops writes {SCHEMA_VERSION}"
        yield Finding(message, "churnops upgrade")


def readable_journal(settings: Settings) -> Parts:
    """Return the parts of a project; the journal only if its tables have the version of this churnops."""
    engine, present = None, True
    try:
        url = settings.database_url(settings.journal.url)
        path = sqlite_path(url)
        present = path is None or path.exists()
        engine = open_unchanged(url)
        if stored_version(engine) == SCHEMA_VERSION:
            return Parts(settings, engine, present)
    except (ChurnopsError, OSError):  # the check `journal` gives the reason
        pass
    if engine is not None:
        engine.dispose()
    return Parts(settings, None, present)


def clock(parts: Parts) -> Iterator[Finding]:
    """Compare this machine's clock with the journal's newest entries, and with the clock of its server."""
    if (engine := parts.journal()) is None:
        return
    now = datetime.now(UTC)
    with answering(), engine.connect() as connection:
        ahead = database_time(connection) - now
    if abs(ahead) > TOLERANCE:
        minutes = abs(ahead.total_seconds()) / 60
        side = "behind" if ahead.total_seconds() > 0 else "ahead of"
        yield Finding(f"this machine's clock is {minutes:,.0f} minutes {side} that of the journal's server", _CLOCK)
    for message in entries_ahead(engine, now):
        yield Finding(message, _CLOCK)
