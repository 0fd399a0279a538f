"""Fixtures: the default settings, a small project on which the main job has run, and parts outside Python."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from numpy.typing import NDArray

from churnops.data.merge import merge
from churnops.data.preprocess import PreparedTable, preprocess
from churnops.data.read import encode, outcomes
from churnops.data.validate import validate_data
from churnops.pipelines.run_all import RunSummary, run_all
from churnops.settings import Settings, default_config, load_settings
from churnops.training.select import SelectedFeatures, select_features
from churnops.training.train import TrainedModels, train_models

REPOSITORY = Path(__file__).parents[1]
RAW = (REPOSITORY / "data/raw/churn-80.csv", REPOSITORY / "data/raw/churn-20.csv")
LATER = REPOSITORY / "data/production/churn-later.csv"

# What some tests need beside Python packages: the command that must be found, and how to get it.
PARTS = {
    "postgresql": ("initdb", "apt-get install postgresql"),
    "prometheus": ("promtool", "apt-get install prometheus"),
    "chromium": ("chromium", "apt-get install chromium"),
}
POSTGRES_FOLDERS = ":".join(str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(part): needs a part outside Python, see scripts/test_parts.sh")
    # Tests must not see a developer's own settings.
    for name in [name for name in os.environ if name.startswith(("CHURNOPS_", "MLFLOW_TRACKING"))]:
        del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        part = marker.args[0]
        if find_part(part) is None:
            message = missing(part)
            if os.environ.get("CI"):
                pytest.fail(f"{message} (scripts/test_parts.sh installs it)")
            pytest.skip(message)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    said = "".join(str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    for part in PARTS:
        if missing(part) in said:
            terminalreporter.write_line(f"tests were skipped because {missing(part)}", yellow=True)


def missing(part: str) -> str:
    return f"{part} is missing: {PARTS[part][1]}"


def find_part(part: str) -> str | None:
    return shutil.which(PARTS[part][0], path=f"{os.environ.get('PATH', '')}:{POSTGRES_FOLDERS}")


def write_project(folder: Path, change: Callable[[dict[str, Any]], None] = lambda document: None) -> Path:
    """Make a project with the default settings (changed by `change`) and no data; return its config file."""
    document = yaml.safe_load(default_config())
    change(document)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def quick(document: dict[str, Any]) -> None:
    """Few trials and replicates: the pipeline's path, not its quality."""
    document["training"] |= {"trials": dict.fromkeys(document["training"]["families"], 1), "folds": 3}
    document["evaluation"]["bootstrap_replicates"] = 100


def write_small_data(folder: Path, rows: int = 500) -> None:
    """Put the first rows of the example data into a project."""
    for source, part in ((RAW[0], "raw"), (RAW[1], "raw"), (LATER, "production")):
        (folder / "data" / part).mkdir(parents=True, exist_ok=True)
        lines = source.read_text().splitlines(keepends=True)[: rows + 1]
        (folder / "data" / part / source.name).write_text("".join(lines))


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The default settings; relative paths lead nowhere."""
    return load_settings(write_project(tmp_path_factory.mktemp("defaults")))


@pytest.fixture(scope="session")
def telecom(settings: Settings) -> pl.DataFrame:
    """The merged raw table."""
    return merge(validate_data(RAW, [], settings.table).raw, settings.table).table


@pytest.fixture(scope="session")
def telecom_columns(settings: Settings, telecom: pl.DataFrame) -> Mapping[str, NDArray[np.float64]]:
    """All encoded input columns of the merged raw table."""
    return encode(telecom, settings.table)


@pytest.fixture(scope="session")
def prepared(settings: Settings, telecom: pl.DataFrame) -> PreparedTable:
    schema = settings.table
    outcome = outcomes(telecom, schema) == 1.0
    columns = encode(telecom, schema)
    return preprocess(columns, outcome, schema.model_inputs, sha256="0" * 64, fraction=0.2, seed=42)


@pytest.fixture(scope="session")
def features(settings: Settings, prepared: PreparedTable) -> SelectedFeatures:
    return select_features(prepared, settings.table, settings.features)


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, prepared: PreparedTable, features: SelectedFeatures
) -> TrainedModels:
    """All four families on the whole example table, one trial each."""
    settings = load_settings(write_project(tmp_path_factory.mktemp("quick"), quick))
    return train_models(prepared, features, settings)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, RunSummary]:
    """A small project on which the main job ran once. Read it; do not write to it."""
    folder = tmp_path_factory.mktemp("project")
    write_small_data(folder)
    settings = load_settings(write_project(folder, quick))
    return settings, run_all(settings)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(42)
