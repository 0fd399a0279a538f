"""Registered versions, read from MLflow's local database without MLflow, which takes seconds to load."""

import sqlite3
from contextlib import closing
from pathlib import Path

from churnops.registry.registry import FILES_TAG
from churnops.settings import Settings
from churnops.tracking.runner import tracking_uri

_WAIT = 1.0  # seconds for a database that another process writes


def registered_versions(settings: Settings) -> dict[int, str]:
    """Return the description of each version that has files, newest first; empty if the store is no local file.

    The database is only read. A damaged or missing one has no versions: see `Registry.versions` for its errors.
    """
    database = Path(tracking_uri(settings).removeprefix("sqlite:///"))
    if not database.is_file():
        return {}
    query = (
        "SELECT version, description FROM model_versions WHERE name = ? AND version NOT IN "
        "(SELECT version FROM model_version_tags WHERE name = model_versions.name AND key = ?) ORDER BY version DESC"
    )
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT)) as store:
            rows = store.execute(query, (settings.registry.model_name, FILES_TAG)).fetchall()
    except sqlite3.Error:
        return {}
    return {int(version): str(description or "") for version, description in rows}
