"""What commands and the service write is closed to other accounts, also in a project of an earlier version."""

import os
import shutil
import signal
import socket
from contextlib import suppress
from pathlib import Path
from stat import S_ISLNK

import pytest

from churnops.settings import Settings, load_settings
from tests.support.load import Connection
from tests.support.processes import CHURNOPS, run, wait_for
from tests.support.projects import quick, write_project, write_small_data
from tests.support.serving import Server


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def command(settings: Settings, *arguments: str, **variables: str) -> None:
    run(CHURNOPS, *arguments, cwd=settings.root, **variables)


def open_to(folder: Path, bits: int) -> list[str]:
    """Return the files and folders below an accessible folder that have any of some permission bits."""
    found = []
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):  # removed meanwhile
                mode = Path(parent, name).lstat().st_mode
                if not S_ISLNK(mode) and mode & bits:
                    found.append(str(Path(parent, name).relative_to(folder)))
    return found


@pytest.mark.usefixtures("usual_umask")
def test_every_file_that_churnops_writes_is_private(tmp_path: Path):
    settings = load_settings(write_project(tmp_path, quick))
    write_small_data(tmp_path, store=False)
    given = {"config.yaml", *open_to(tmp_path, 0o077), "server.log", "temporary"}
    command(settings, "run")
    command(settings, "predict", "data/production/churn-later.csv", "scored.csv", "--explain")
    command(settings, "simulate", "simulated.csv")
    command(settings, "monitor", "--batch", "data/production/churn-later.csv")
    with Server(settings) as server:
        wait_for("the service is ready", lambda: server.get("/health/ready").status == 200)
        with (tmp_path / "data/production/churn-later.csv").open("rb") as customers:
            assert server.ask("POST", "/predict/batch", customers.read(), "text/csv").status == 200
        command(settings, "keys", "add", "billing", "--scope", "predict")
        command(settings, "journal", "backup", "backup.db")
        assert [path for path in open_to(tmp_path, 0o077) if path not in given] == []


@pytest.mark.usefixtures("usual_umask")
def test_an_older_project_is_closed_and_a_group_may_be_let_in(tmp_path: Path):
    settings = load_settings(write_project(tmp_path))
    for name in ("models", "monitoring", "mlartifacts", "data"):
        (tmp_path / name).mkdir(mode=0o755)
    for name in ("journal.db", "mlflow.db"):
        (tmp_path / name).touch(mode=0o664)
    group = {"CHURNOPS_PERMISSIONS": "group"}
    command(settings, "keys", "list", **group)
    assert open_to(tmp_path, 0o007) == ["data", "config.yaml"]
    assert (tmp_path / "journal.db").stat().st_mode & 0o777 == 0o660 & (tmp_path / "journal.db").stat().st_mode
    command(settings, "keys", "list")
    assert open_to(tmp_path, 0o077) == ["data", "config.yaml"]


@pytest.mark.usefixtures("usual_umask")
def test_an_upload_leaves_nothing_when_the_service_is_killed(tmp_path: Path, project):
    shutil.copytree(project[0].path("models"), tmp_path / "models", symlinks=True)
    settings = load_settings(write_project(tmp_path))
    with Server(settings) as server:
        wait_for("the service is ready", lambda: server.get("/health/ready").status == 200)
        with socket.create_connection(("127.0.0.1", server.port)) as upload:
            upload.sendall(Connection.head("POST", "/predict/batch", 9_999_999, "text/csv"))
            upload.sendall(b"customer_id,account_length\n" + b"C-1,1\n" * 100_000)
            wait_for("the upload is being kept", lambda: sum(server.unnamed_files().values()) > 500_000)
            os.kill(server._process.pid, signal.SIGKILL)
            server._process.wait()
    assert list(server.temporary.iterdir()) == []
