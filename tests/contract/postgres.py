"""A PostgreSQL server of the test's own: a new cluster in a temporary folder, on loopback only."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import find_part


@contextmanager
def private_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server; yield its SQLAlchemy URL; stop it."""
    initdb = find_part("postgresql")
    assert initdb is not None, "the test is marked needs('postgresql')"
    binaries = Path(initdb).resolve().parent
    folder = tmp_path_factory.mktemp("postgresql")
    data = folder / "data"
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents:  # pytest makes its folders private to the user
            if parent.stat().st_uid == 0 and str(parent).startswith(str(tmp_path_factory.getbasetemp().parent)):
                parent.chmod(parent.stat().st_mode | 0o011)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(command: str, *arguments: str) -> None:
        done = subprocess.run([*as_user, binaries / command, *arguments], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    run("initdb", "-D", str(data), "-U", "churnops", "--auth=trust", "--encoding=UTF8", "--locale=C")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://churnops@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
