"""Artifact addresses of a local MLflow store whose project folder was moved or copied.

MLflow stores the absolute address of each artifact folder. After a move they would lead to the old folder, which MLflow
makes again, and in a copy they would lead to the original. So the addresses are corrected before the store is opened.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Columns of MLflow's tables that hold addresses of artifacts."""
_NEWEST = 20  # runs; at least one of them must be in the present folder
_WAIT = 60.0


def correct_addresses(database: Path, root: Path, artifacts: str) -> Path | None:
    """Point the addresses of a store at the project's present folder; return the project's previous folder.

    Changes nothing, and returns None, if the addresses are right, or if none of the newest runs is in the present
    folder: then the artifacts are still at the old place.

    Parameters
    ----------
    database
        SQLite file of the store; it may not exist.
    root
        Folder of the project, absolute.
    artifacts
        Folder of the artifacts, relative to the project. A folder outside of the project does not move with it.

    Raises
    ------
    sqlite3.Error
        If the database is damaged, or another process holds it.
    """
    folder = (root / artifacts).resolve()
    if not database.is_file() or not folder.is_relative_to(root):
        return None
    now = folder.as_uri()
    below = now.removeprefix(root.as_uri())
    with closing(sqlite3.connect(database, timeout=_WAIT, isolation_level=None)) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not _ADDRESSES.keys() <= tables:
            return None
        stored = store.execute("SELECT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'")
        before = next((address for (address,) in stored if address.endswith(below) and address != now), None)
        if before is None or not _holds_runs(store, before, folder):
            return None
        store.execute("BEGIN IMMEDIATE")
        for table, columns in _ADDRESSES.items():
            for column in columns:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608  (names of MLflow's tables)
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
                )
        store.execute("COMMIT")
    return Path(unquote(urlsplit(before.removesuffix(below)).path))


def _holds_runs(store: sqlite3.Connection, before: str, folder: Path) -> bool:
    """Return whether a folder holds artifacts of one of the newest runs; true if there is no run."""
    query = "SELECT artifact_uri FROM runs WHERE substr(artifact_uri, 1, ?) = ? ORDER BY start_time DESC LIMIT ?"
    rows = store.execute(query, (len(before) + 1, f"{before}/", _NEWEST)).fetchall()
    return not rows or any((folder / unquote(uri[len(before) + 1 :])).exists() for (uri,) in rows)
