"""One opened project: stores opened once and only when needed, and one answer to which model is deployed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from churnops.errors import BundleError, JournalError, RegistryError
from churnops.project import Project
from churnops.settings import Settings, default_config, load_settings
from churnops.training.train import TrainedModels

STORES = ("journal", "cycles", "alerts", "decisions", "deployments", "keys", "simulated", "folder")


@pytest.fixture
def fresh(tmp_path: Path) -> Settings:
    (tmp_path / "config.yaml").write_text(default_config())
    return load_settings(tmp_path / "config.yaml")


def test_each_store_is_opened_once_and_shares_one_database(fresh: Settings, tmp_path: Path):
    with Project.open(fresh) as project:
        assert not (tmp_path / "journal.db").exists()
        first = [getattr(project, store) for store in STORES]
        assert [getattr(project, store) for store in STORES] == first
        assert project.folder.log is project.deployments
        assert project.entries_ahead() == ()
        assert project.unmatched_labels() is None
        assert project.engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    assert project.engine.pool.checkedin() == 0  # type: ignore[attr-defined]


def test_the_deployed_model_needs_no_database(fresh: Settings, tmp_path: Path):
    with Project.open(fresh) as project:
        assert project.deployed() is None
        with pytest.raises(RegistryError, match=r"no model is deployed in .*models: type `churnops run` first"):
            project.require_deployed()
    assert not (tmp_path / "journal.db").exists()


def test_a_deployed_model_without_its_folder_is_an_error(fresh: Settings, tmp_path: Path, trained: TrainedModels):
    bundle = trained.models["decision_tree"].bundle
    folder = bundle.save(tmp_path / "models/versions/one")
    (tmp_path / "models/production").symlink_to(Path("versions/one"))
    project = Project(fresh)
    assert project.require_deployed().content_sha256 == bundle.content_sha256
    shutil.rmtree(folder)
    with pytest.raises(BundleError):
        project.deployed()


def test_a_database_that_cannot_be_opened_is_tried_again(fresh: Settings, tmp_path: Path):
    (tmp_path / "journal.db").mkdir()
    with Project.open(fresh) as project:
        with pytest.raises(JournalError):
            _ = project.alerts
        (tmp_path / "journal.db").rmdir()
        assert project.alerts.undelivered is not None


def test_a_project_is_imported_without_sqlalchemy_and_mlflow():
    code = "import sys, churnops.project; print([name for name in ('sqlalchemy', 'mlflow') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
