"""State of a deployment: log, aliases, and a copy of its project."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from churnops.journal import Deployment
from churnops.project import Project
from churnops.registry import DeploymentFolder, Registry
from churnops.settings import Settings, load_settings
from churnops.tracking import Tracker


def copy(source: Path, target: Path) -> Settings:
    """Copy a project without its registered models, which stay in place."""
    target.mkdir()
    for name in ("mlflow.db", "journal.db"):
        with closing(sqlite3.connect(source / name)) as old, closing(sqlite3.connect(target / name)) as new:
            old.backup(new)
    for name in ("models", "data"):
        shutil.copytree(source / name, target / name, symlinks=True)
    shutil.copy(source / "config.yaml", target)
    return load_settings(target / "config.yaml")


def history(settings: Settings) -> list[Deployment]:
    with Project.open(settings) as project:
        return project.deployments.history()


@contextmanager
def opened_registry(settings: Settings) -> Iterator[Registry]:
    """Yield a project's registry; close the project's database at the end."""
    with Project.open(settings) as project:
        yield Registry(Tracker(settings), project.folder)


def aliases(settings: Settings) -> dict[str, int]:
    with closing(sqlite3.connect(settings.path("mlflow.db"))) as connection:
        return dict(connection.execute("SELECT alias, version FROM registered_model_aliases").fetchall())


def prune(folder: DeploymentFolder, keep: int) -> list[str]:
    """Remove the version folders that are not in use; return their names, oldest deployment first."""
    used = folder.in_use(keep)
    gone = [name for name in folder.names() if name not in used]
    folder.remove(gone)
    return gone
