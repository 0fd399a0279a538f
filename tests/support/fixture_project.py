"""Copies of the fixture projects (`tests/fixtures`) that tests serve, monitor and retrain."""

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.support.parts import find_part

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
PROJECT_1: Final = FIXTURES / "project-1"
PROJECTS: Final = sorted(FIXTURES.glob("project-*"))
HOME: Final = Path("/srv/project-1")
"""Folder in which a fixture project was made; addresses in its files name it."""

VERSION_FOLDERS: Final = "models/versions"
ACTIVE_TOKEN: Final = "churnops_f1c7a0e4e501_not-a-secret-this-is-the-key-of-a-fixture"
REVOKED_TOKEN: Final = "churnops_f1c7a0e4e502_not-a-secret-this-key-of-a-fixture-is-revoked"


def copy_project(folder: Path, project: Path = PROJECT_1) -> Path:
    """Copy a fixture project to a new folder, where its MLflow store finds its files."""
    shutil.copytree(project, folder, symlinks=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT")):
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE "{column}" LIKE ?',
                        (str(HOME), str(folder.resolve()), f"%{HOME}%"),
                    )
    return folder


def restore_journal(url: str, project: Path = PROJECT_1) -> None:
    """Read the PostgreSQL dump of a fixture project's journal into an empty database."""
    psql = Path(str(find_part("postgresql"))).resolve().with_name("psql")
    address = url.replace("+psycopg", "")
    command = [str(psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(project / "journal.sql"), address]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
