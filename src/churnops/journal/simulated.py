"""The log of files with simulated customers; each file is identified by its SHA-256.

Single rows are not hashed: most rows of a simulated file are unchanged real customers.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, Select, insert, select

from churnops.data.read import table_paths
from churnops.data.simulated import file_sha256, has_mark
from churnops.errors import DataError
from churnops.journal.database import answering, exclusive
from churnops.journal.tables import microseconds, simulated_files
from churnops.settings import Settings


class SimulatedFiles:
    """The log of files written by `churnops simulate`. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, sha256: str, description: str) -> None:
        """Record a file, unless it is already recorded."""
        row = {"sha256": sha256, "at": microseconds(datetime.now(UTC)), "description": description}
        with answering(), exclusive(self._engine) as connection:
            if connection.execute(_holds(sha256)).first() is None:
                connection.execute(insert(simulated_files), row)

    def holds(self, path: Path) -> bool:
        """Return whether a file is recorded, or is a copy of a recorded one."""
        with answering(), self._engine.connect() as connection:
            return connection.execute(_holds(file_sha256(path))).first() is not None


def is_simulated(path: Path, files: SimulatedFiles) -> bool:
    """Return whether a table has the column that marks simulated customers, or equals a recorded simulated file."""
    return has_mark(path) or files.holds(path)


def refuse_simulated(paths: Iterable[Path], files: SimulatedFiles, settings: Settings) -> None:
    """Refuse tables of simulated customers as production data, unless the project is a demonstration.

    Parameters
    ----------
    paths
        Tables, or folders of them. A table that cannot be read is skipped: its reader raises the error.

    Raises
    ------
    DataError
        Names the first simulated table.
    """
    if settings.demonstration:
        return
    for path in paths:
        tables = [path] if path.is_file() else []  # a file may have any ending
        if path.is_dir():
            with suppress(DataError):
                tables = table_paths([path])
        for table in tables:
            if is_simulated(table, files):
                raise DataError(
                    f"{table} holds simulated customers, which must not count as production: use real customers, or "
                    "set `demonstration: true` in config.yaml if this project is a demonstration"
                )


def _holds(sha256: str) -> Select[tuple[str]]:
    return select(simulated_files.c.sha256).where(simulated_files.c.sha256 == sha256)
