"""Version of the tables of a local MLflow store, read without MLflow, which takes seconds to load."""

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_LINES = re.compile(r"^(revision|down_revision)(?:: [^=]+)? = (?:[\"'](\w+)[\"']|None)", re.MULTILINE)


def stored_revision(database: Path) -> str | None:
    """Return the revision of a store's tables; None if it has none.

    Raises
    ------
    sqlite3.Error
        If the file is damaged or is no database.
    """
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)) as store:
        names = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        rows = store.execute("SELECT version_num FROM alembic_version").fetchall() if "alembic_version" in names else []
    return str(rows[0][0]) if rows else None


def known_revisions() -> frozenset[str]:
    """Return all revisions that the installed MLflow knows."""
    return frozenset(_revisions())


def newest_revision() -> str:
    """Return the revision that the installed MLflow needs."""
    revisions = _revisions()
    (newest,) = revisions.keys() - set(revisions.values())
    return newest


@cache
def _revisions() -> Mapping[str, str | None]:
    """Return each revision and the one before it, from the texts of MLflow's migrations."""
    spec = find_spec("mlflow")
    assert spec is not None
    assert spec.origin is not None
    revisions = {}
    for path in Path(spec.origin).with_name("store").joinpath("db_migrations", "versions").glob("*.py"):
        values = dict(_LINES.findall(path.read_text(encoding="utf-8")))
        if "revision" in values:
            revisions[values["revision"]] = values.get("down_revision") or None
    return revisions
