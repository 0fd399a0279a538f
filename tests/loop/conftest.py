"""A project with a deployed model, for tests that monitor it."""

import shutil
from pathlib import Path

import pytest

from churnops.pipelines.run_all import RunSummary
from churnops.retraining import check
from churnops.settings import Settings, load_settings
from tests.support.clocks import Clock
from tests.support.projects import quick, write_project, write_store


@pytest.fixture
def deployed(project: tuple[Settings, RunSummary], tmp_path: Path) -> Settings:
    """A project with a deployed model and without a monitoring cycle."""
    folder = tmp_path / "project"
    write_project(folder, quick)
    write_store(folder)
    models = project[0].path("models")
    shutil.copytree(models, folder / "models", symlinks=True)
    return load_settings(folder / "config.yaml")


@pytest.fixture
def check_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the check of a deployment end after a number of answers, however long a busy machine takes for each."""
    clock = Clock()
    monkeypatch.setattr(check, "time", clock)
    monkeypatch.setattr(check, "PAUSE_SECONDS", 1.0)
    return clock
