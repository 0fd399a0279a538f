"""Fixtures: the default settings, a small project on which the main job has run, and parts outside Python."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from churnops.api.customers import CustomerForm
from churnops.data.merge import merge
from churnops.data.preprocess import PreparedTable, preprocess
from churnops.data.read import encode, outcomes
from churnops.data.validate import validate_data
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary, run_all
from churnops.settings import Settings, load_settings
from churnops.training.select import SelectedFeatures, select_features
from churnops.training.train import TrainedModels, train_models
from tests.support.parts import PARTS, find_part, missing
from tests.support.postgres import Cluster, private_cluster
from tests.support.projects import RAW, quick, write_project, write_small_data

BROWSER = "tests/browser/"
LONGEST = ("tests/loop/test_closed_loop.py", BROWSER, "tests/loop/", "tests/api/", "tests/unit/app/", "tests/contract/")
MEMORY = "/dev/shm"
MEMORY_BYTES = 8 * 2**30


hypothesis.settings.register_profile("patient", deadline=None)  # on a busy machine an example may take any time
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(part): needs a part outside Python, see scripts/test_parts.sh")
    # Tests must not see a developer's own settings.
    for name in [name for name in os.environ if name.startswith(("CHURNOPS_", "MLFLOW_TRACKING"))]:
        del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # Databases are flushed thousands of times: in memory, where it has room, that takes no time.
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that the processes of `make test` end together."""
    items.sort(
        key=lambda item: next((n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process a file at a time, but all of `tests/browser` to one: it has one browser and one project."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return BROWSER if nodeid.startswith(BROWSER) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)


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
    return preprocess(columns, outcome, schema.model_inputs, sha256="0" * 64, held_out=0.2, seed=42)


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
def make_settings(tmp_path: Path, project: tuple[Settings, RunSummary]) -> Callable[..., Settings]:
    """Make a project with the small project's model deployed; keyword arguments change sections of its settings."""

    def make(*, deployed: bool = True, **sections: dict[str, Any]) -> Settings:
        def change(document: dict[str, Any]) -> None:
            document["api"]["rate_limit"] = 1e6
            for name, values in sections.items():
                document[name] |= values

        if deployed:
            shutil.copytree(project[0].path("models"), tmp_path / "models", symlinks=True)
        return load_settings(write_project(tmp_path, change))

    return make


@pytest.fixture(scope="module")
def bundles(trained: TrainedModels) -> tuple[Bundle, Bundle]:
    """Two models of different families."""
    return trained.models["xgboost"].bundle, trained.models["logistic_regression"].bundle


@pytest.fixture(scope="module")
def customers(bundles: tuple[Bundle, Bundle]) -> list[dict[str, Any]]:
    """The probe rows as a client sends them; the two models differ on each."""
    one, other = bundles
    assert (one.predict(one.probes).probability != other.predict(one.probes).probability).all()
    form = CustomerForm(one.schema)
    return [form.example(one.probes, row) for row in range(len(one.probes["account_length"]))]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server; each test makes a database in it."""
    with private_cluster() as cluster:
        yield cluster


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(42)
