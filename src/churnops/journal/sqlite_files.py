"""Check that the three files of a SQLite journal (database, `-wal`, `-shm`) are still the opened ones.

SQLite continues to write to a deleted or renamed file: the commit would succeed, and the data would be lost.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churnops.errors import JournalError

LOG = "-wal"
INDEX = "-shm"

Identity = tuple[int, int]


class ReplacedFileError(JournalError):
    """An open file was replaced by another one of the same name."""


class OpenedFiles:
    """The files that one connection opened, by device and inode.

    Parameters
    ----------
    path : Path
        The database's path from the settings.
    connection : sqlite3.Connection
        A connection that has read from the database, so that all three files exist.
    """

    def __init__(self, path: Path, connection: Any) -> None:
        # If the path is a symbolic link, log and index are beside the link's target.
        query = "SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"
        real = os.fsdecode(connection.execute(query).fetchone()[0])  # a folder's name need not be UTF-8
        self.database = path
        self.log = Path(real + LOG)
        self.index = Path(real + INDEX)
        files = [(str(path), identity(str(path))) for path in (self.database, self.log, self.index)]
        self._identities = [(path, known) for path, known in files if known is not None]

    @property
    def identity(self) -> Identity:
        """Device and inode of the database."""
        return self._identities[0][1]

    def check(self) -> None:
        """Compare the files with the opened ones, in a few microseconds.

        Raises
        ------
        ReplacedFileError
            If a file was replaced.
        JournalError
            If a file is missing or cannot be reached.
        """
        for path, opened in self._identities:
            check_identity(path, opened)

    def log_was_set_aside(self) -> bool:
        """Return whether another process renamed the opened log by `set_log_aside`."""
        opened = dict(self._identities).get(str(self.log))
        return any(identity(str(path)) == opened for path in self.log.parent.glob(_set_aside(self.log, "*").name))

    def set_log_aside(self) -> None:
        """Rename the log, which does not belong to the present database, and delete its index.

        Otherwise SQLite would apply the log to the database at the next opening, and destroy the database.
        """
        with suppress(OSError):
            self.log.rename(_set_aside(self.log, _now()))
        with suppress(OSError):
            self.index.unlink()


def identity(path: str) -> Identity | None:
    """Return device and inode of a file; None if it cannot be reached."""
    try:
        status = os.stat(path)  # noqa: PTH116  (for each commit: half the time of Path.stat)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_identity(path: str, opened: Identity) -> None:
    """Compare a file with an opened one; see `OpenedFiles.check`."""
    present = identity(path)
    if present is None:
        raise JournalError(f"{Path(path).name} was deleted or moved while it was open: restore it")
    if present != opened:
        raise ReplacedFileError(
            f"{Path(path).name} was replaced while it was open: restart the process to use the new file"
        )


def keep_orphaned_log(database: Path) -> None:
    """Rename the log of a missing or empty database: SQLite would delete the log when it creates a database."""
    real = database.resolve()
    log = real.with_name(real.name + LOG)
    with suppress(OSError):
        if log.stat().st_size and not (real.exists() and real.stat().st_size):
            log.rename(_set_aside(log, _now()))


def _set_aside(log: Path, time: str) -> Path:
    return log.with_name(f"{log.name.removesuffix(LOG)}.set-aside-{time}{LOG}")


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
