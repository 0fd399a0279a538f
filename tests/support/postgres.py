"""A private PostgreSQL server: a new cluster in a temporary folder, on loopback only."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import find_part
from tests.support.processes import free_port


@dataclass(frozen=True)
class Cluster:
    """A running server: its SQLAlchemy URL, and functions that crash and restart it."""

    url: str
    crash: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def private_cluster(address: str = "127.0.0.1") -> Iterator[Cluster]:
    """Start a server for the machines of a network, yield it, and stop it at the end."""
    initdb = find_part("postgresql")
    assert initdb is not None, "the test is marked needs('postgresql')"
    binaries = Path(initdb).resolve().parent
    # Not in pytest's folder: each new pytest makes that one private again, possibly to root.
    folder = Path(tempfile.mkdtemp(prefix="churnops-postgresql-"))
    data = folder / "data"
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        shutil.chown(folder, "postgres", "postgres")
    port = free_port(address)

    def run(command: str, *arguments: str) -> None:
        done = subprocess.run([*as_user, binaries / command, *arguments], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    run("initdb", "-D", str(data), "-U", "churnops", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {address}/24 trust\n")
    # Nothing is flushed to the disk: in tests servers crash, machines do not.
    options = f"-c fsync=off -c listen_addresses={address} -c port={port} -c unix_socket_directories={folder}"

    def start() -> None:
        run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-t", "600", "-o", options, "start")

    def crash() -> None:
        run("pg_ctl", "-D", str(data), "-w", "-t", "600", "-m", "immediate", "stop")

    start()
    try:
        yield Cluster(f"postgresql+psycopg://churnops@{address}:{port}/postgres", crash, start)
    finally:
        crash()
        shutil.rmtree(folder)
