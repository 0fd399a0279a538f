"""Upgrade a project's stores to the tables of this churnops: the journal, and MLflow's store if it is a local file.

Bundles, reports and summaries of earlier versions are read as they are, so their files never change.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churnops.errors import ChurnopsError, JournalError
from churnops.files import file_lock
from churnops.journal import open_database
from churnops.journal.backup import back_up
from churnops.journal.tables import SCHEMA_VERSION
from churnops.journal.unchanged import open_unchanged, sqlite_path, stored_version
from churnops.settings import Settings
from churnops.tracking.runner import tracking_uri
from churnops.tracking.schema import known_revisions, newest_revision, stored_revision
from churnops.tracking.upgrade import copy_store, upgrade_store


@dataclass(frozen=True)
class StoreUpgrade:
    """One store: its name, the versions of its tables before and after, and the backup made before the change.

    Attributes
    ----------
    before
        None if the database has no tables yet.
    file
        Its file; None if it is a database server.
    backup
        None if the store needs no upgrade, or nothing was done.
    """

    name: str
    before: str | None
    after: str
    file: Path | None
    backup: Path | None = None
    done: bool = False

    @property
    def is_due(self) -> bool:
        """Whether the tables have another version than this churnops needs."""
        return self.before != self.after

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        backup = str(self.backup) if self.backup else None
        return {"store": self.name, "before": self.before, "after": self.after, "backup": backup, "done": self.done}


def stores_of(settings: Settings) -> list[StoreUpgrade]:
    """Return the stores that exist, and their versions. Nothing is changed.

    Raises
    ------
    ChurnopsError
        If a store cannot be read, or a newer program wrote it.
    """
    return [*_journal(settings), *_mlflow(settings)]


def upgrade(
    settings: Settings, *, backed_up: bool = False, on_message: Callable[[str], None] = lambda text: None
) -> list[StoreUpgrade]:
    """Upgrade each store that needs it, after a backup; a repeated call changes nothing.

    Parameters
    ----------
    backed_up
        The user has a backup of a journal in a database server, which churnops cannot back up.
    on_message
        Called with a sentence for each backup, before the store changes, and with one if the upgrade is interrupted.

    Raises
    ------
    ChurnopsError
        As `stores_of`; and if a backup or an upgrade fails.
    """
    stores = stores_of(settings)
    for store in stores:
        if store.is_due and store.file is None and not backed_up:
            raise JournalError(
                "the journal is in a database server, which churnops cannot back up: use pg_dump, then type `churnops "
                "upgrade --backed-up`"
            )
    return [_upgraded(settings, store, on_message) if store.is_due else store for store in stores]


def _journal(settings: Settings) -> Iterator[StoreUpgrade]:
    url = settings.database_url(settings.journal.url)
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return
    engine = open_unchanged(url)
    try:
        version = stored_version(engine)
    finally:
        engine.dispose()
    if version is not None and version > SCHEMA_VERSION:
        raise JournalError(f"the journal has version {version}; this churnops reads {SCHEMA_VERSION}: upgrade churnops")
    yield StoreUpgrade("journal", version, SCHEMA_VERSION, path)


def _mlflow(settings: Settings) -> Iterator[StoreUpgrade]:
    uri = tracking_uri(settings)
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.is_file():  # a server belongs to its own administrator
        return
    revision = stored_revision(path)
    if revision is not None and revision not in known_revisions():
        raise ChurnopsError(f"a newer MLflow wrote {path}: its tables have version {revision}; upgrade MLflow")
    yield StoreUpgrade("MLflow", revision, newest_revision(), path)


def _upgraded(settings: Settings, store: StoreUpgrade, on_message: Callable[[str], None]) -> StoreUpgrade:
    """Back up one store, then migrate it."""
    backup = _backed_up(settings, store)
    if backup is not None:
        on_message(f"Backed up {store.name}: {backup}")
    try:
        if store.name == "journal":
            open_database(settings.database_url(settings.journal.url)).dispose()  # one transaction
        elif store.file is not None:
            with file_lock(settings.models / ".lock"):
                upgrade_store(store.file)
    except BaseException:  # also Ctrl-C
        kept = f"; its backup is {backup}" if backup else ""
        on_message(
            f"The upgrade was interrupted: {store.name} is as it was before{kept}. Type `churnops upgrade` again"
        )
        raise
    return replace(store, backup=backup, done=True)


def _backed_up(settings: Settings, store: StoreUpgrade) -> Path | None:
    """Copy a store to a file beside it; return the copy, None for a database server or an empty database."""
    if store.file is None or store.before is None:
        return None
    target = store.file.with_name(f"{store.file.name}.before-upgrade-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    if store.name == "journal":
        back_up(settings.database_url(settings.journal.url), target)
    else:
        copy_store(store.file, target)
    return target
