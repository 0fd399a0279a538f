"""Pages without a browser: `in_project` is a copy of a project after the main job, `show` renders a page."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit import cache_data, cache_resource
from streamlit.testing.v1 import AppTest

from churnops.pipelines.run_all import RunSummary
from churnops.settings import ENV_CONFIG, Settings
from tests.support.app_pages import PAGE, SECONDS
from tests.support.projects import write_project


@pytest.fixture
def no_caches() -> Iterator[None]:
    """Clear the pages' caches after each test, because each test has its own project."""
    cache_data.clear()
    cache_resource.clear()
    yield
    cache_data.clear()
    cache_resource.clear()


@pytest.fixture
def in_project(
    project: tuple[Settings, RunSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None
) -> Path:
    """A copy of a project after the main job, as the dashboard's project. Tests may write to it."""
    folder = tmp_path / "project"
    shutil.copytree(project[0].root, folder, symlinks=True, ignore=shutil.ignore_patterns("mlartifacts"))
    monkeypatch.setenv(ENV_CONFIG, str(folder / "config.yaml"))
    return folder


@pytest.fixture
def in_empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None) -> Path:
    """A project without a main job, as the dashboard's project."""
    monkeypatch.setenv(ENV_CONFIG, str(write_project(tmp_path / "empty")))
    return tmp_path / "empty"


@pytest.fixture
def show() -> Callable[[str], AppTest]:
    """Return a function that runs a page by its module's name, such as `show("monitoring")`."""

    def run(name: str) -> AppTest:
        return AppTest.from_string(PAGE.format(name=name), default_timeout=SECONDS).run()

    return run
