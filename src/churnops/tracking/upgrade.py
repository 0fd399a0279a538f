"""Upgrade of a local MLflow store to the tables that the installed MLflow needs."""

import sqlite3
from contextlib import closing
from pathlib import Path

from churnops.errors import ChurnopsError, first_line
from churnops.files import close_to_others, fsync_folder


def copy_store(database: Path, target: Path) -> None:
    """Copy a store, which may be in use, to a new file.

    Raises
    ------
    ChurnopsError
        If the store is damaged, or another process holds it.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch()
        close_to_others(unfinished)
        source = f"{database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(source, uri=True)) as old, closing(sqlite3.connect(unfinished)) as new:
            old.backup(new)
        unfinished.rename(target)
    except sqlite3.Error as error:
        raise ChurnopsError(f"the MLflow store {database} cannot be copied: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    fsync_folder(target.parent)


def upgrade_store(database: Path) -> None:
    """Migrate a copy of the store, which takes the store's place at the end; a killed upgrade leaves it as it was.

    MLflow's migrations are no single transaction. No process may write to the store meanwhile.

    Raises
    ------
    ChurnopsError
        If MLflow cannot migrate it. Nothing has changed then.
    """
    copy = database.with_name(f"{database.name}.upgrading")
    copy.unlink(missing_ok=True)
    copy_store(database, copy)
    try:
        _migrate(copy)
        copy.replace(database.resolve())
    finally:
        copy.unlink(missing_ok=True)
    fsync_folder(database.resolve().parent)


def _migrate(database: Path) -> None:
    from mlflow.db import upgrade  # the command `mlflow db upgrade`

    assert upgrade.callback is not None
    try:
        upgrade.callback(f"sqlite:///{database}")
    except Exception as error:  # each of its migrations may raise errors of its own
        raise ChurnopsError(f"MLflow cannot migrate its store: {first_line(error)}") from None
