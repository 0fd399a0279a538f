"""Completion with the Tab key, as bash asks for it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from churnops.cli.completion import deployed_before
from churnops.journal.deployment_log import Intent
from churnops.project import Project
from churnops.settings import Settings, load_settings
from tests.support.processes import CHURNOPS
from tests.support.projects import copied

SCRIPT = """
PATH={folder}:$PATH
eval "$(_CHURNOPS_COMPLETE=bash_source churnops)"
complete -p churnops > /dev/null || exit 9
COMP_WORDS=({words} '{begin}')
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_churnops_completion churnops '{begin}' ''
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(folder: Path, *words: str, begin: str = "") -> list[str]:
    """Return what bash offers after some words and the beginning of another."""
    script = SCRIPT.format(folder=Path(CHURNOPS).parent, words=" ".join(("churnops", *words)), begin=begin)
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def folder(project: tuple[Settings, object], tmp_path: Path) -> Path:
    return copied(project[0], tmp_path / "project").root


pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def test_versions_keys_scopes_columns_and_commands_are_completed(folder: Path):
    with Project.open(load_settings(folder / "config.yaml")) as opened:
        opened.keys.add("billing", ["predict"])
        opened.keys.add("crm", ["label"])
    assert completed(folder, "promote") == ["1"]
    assert completed(folder, "rollback", "--to") == []  # nothing was deployed before
    assert completed(folder, "keys", "revoke") == ["billing", "crm"]
    assert completed(folder, "keys", "revoke", begin="c") == ["crm"]
    assert completed(folder, "keys", "add", "ops", "--scope") == ["predict", "label", "features", "metrics", "admin"]
    columns = completed(folder, "simulate", "out.csv", "--column", begin="total_d")
    assert columns == ["total_day_minutes", "total_day_calls", "total_day_charge"]
    assert completed(folder, begin="mo") == ["models", "monitor"]
    assert completed(folder, "monitor", begin="--no") == ["--no-act", "--no-retrain"]


def test_completion_writes_nothing_and_needs_no_project(folder: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in ("journal.db", "mlflow.db"):
        (folder / path).unlink()
    for words in (("promote",), ("rollback", "--to"), ("keys", "revoke")):
        assert completed(folder, *words) == []
        assert completed(empty, *words) == []
    assert completed(empty, "simulate", "out.csv", "--column") == []
    assert list(empty.iterdir()) == []
    assert not (folder / "journal.db").exists()
    assert not (folder / "mlflow.db").exists()


def test_completion_asks_no_object_store(folder: Path, monkeypatch: pytest.MonkeyPatch):
    settings = load_settings(folder / "config.yaml")
    registry = settings.registry.model_copy(update={"directory": "s3://none/models", "copy_directory": "models"})
    monkeypatch.delattr("churnops.project.ObjectStore")
    with Project.open(settings) as opened:
        opened.deployments.open_intent(Intent("later", 2, "0" * 64, opened.folder.current(), "test", "me", "deploy"))
    in_store = settings.model_copy(update={"registry": registry})
    (settings.models / "production").unlink()
    (settings.models / "production").symlink_to("versions/later")
    assert list(deployed_before(in_store)) == ["1"]
