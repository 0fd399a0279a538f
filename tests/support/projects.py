"""Projects in temporary folders: settings, example data, a deployed model."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from sqlalchemy import create_engine

from churnops.settings import Settings, default_config, load_settings

REPOSITORY = Path(__file__).parents[2]
RAW = (REPOSITORY / "data/raw/churn-80.csv", REPOSITORY / "data/raw/churn-20.csv")
LATER = REPOSITORY / "data/production/churn-later.csv"


def write_project(folder: Path, change: Callable[[dict[str, Any]], None] = lambda document: None) -> Path:
    """Make a project with the default settings (changed by `change`) and no data; return its config file."""
    document = deepcopy(_defaults())
    change(document)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False))
    return path


@cache
def _defaults() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(default_config())
    return document


def quick(document: dict[str, Any]) -> None:
    """Set few trials and replicates, enough to test the pipeline but not its quality."""
    document["training"] |= {"trials": dict.fromkeys(document["training"]["families"], 1), "folds": 3}
    document["evaluation"]["bootstrap_replicates"] = 100


def write_small_data(folder: Path, rows: int = 500, *, store: bool = True) -> None:
    """Put the first rows of the example data into a project, and MLflow's empty database unless `store` is False."""
    for source, part in ((RAW[0], "raw"), (RAW[1], "raw"), (LATER, "production")):
        (folder / "data" / part).mkdir(parents=True, exist_ok=True)
        lines = source.read_text().splitlines(keepends=True)[: rows + 1]
        (folder / "data" / part / source.name).write_text("".join(lines))
    if store:
        write_store(folder)


def write_store(folder: Path) -> None:
    """Put MLflow's empty database into a project, which a process would make in more than a second."""
    (folder / "mlflow.db").write_bytes(_empty_store())


@cache
def _empty_store() -> bytes:
    """Make MLflow's empty database once; that takes more than a second."""
    from mlflow.store.db.utils import _initialize_tables

    with TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/mlflow.db")
        _initialize_tables(engine)
        engine.dispose()
        return Path(folder, "mlflow.db").read_bytes()


def copied(settings: Settings, folder: Path) -> Settings:
    """Copy a project."""
    shutil.copytree(settings.root, folder, symlinks=True)
    return load_settings(folder / "config.yaml")


def deployed(folder: Path, project: Settings, **sections: dict[str, Any]) -> Settings:
    """Make a project in `folder` with the deployed model of another; keyword arguments change its settings."""

    def change(document: dict[str, Any]) -> None:
        for name, values in sections.items():
            document[name] |= values

    if not (folder / "models").exists():
        shutil.copytree(project.path("models"), folder / "models", symlinks=True)
    return load_settings(write_project(folder, change))
