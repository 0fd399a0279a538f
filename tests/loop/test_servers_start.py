"""The first lines of servers: the address, or the reason why there is none."""

import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from churnops.settings import Settings
from tests.support.processes import CHURNOPS, PATIENCE, free_port, run, start, wait_for


@contextmanager
def started(folder: Path, log: Path, command: str, health: str) -> Iterator[str]:
    """Start a server, wait until its health page answers, and yield the address."""
    port = free_port()
    with log.open("w") as file:
        process = start((CHURNOPS, command, "--port", str(port)), cwd=folder, stdout=file, stderr=subprocess.STDOUT)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=PATIENCE))
            except OSError:
                return False

        try:
            wait_for("the server answers", answers)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@pytest.mark.parametrize("command", [("serve",), ("serve", "--workers", "2"), ("dashboard",)])
def test_a_port_in_use_is_one_line(deployed: Settings, command: tuple[str, ...]):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run(CHURNOPS, *command, "--port", port, cwd=deployed.root, code=2)
    assert done.stdout == ""
    message = f"error: port {port} of 127.0.0.1 is in use: stop the program that uses it, or choose another --port\n"
    assert done.stderr == message


def test_the_dashboard_prints_its_address_and_no_hints(deployed: Settings, tmp_path: Path):
    with started(deployed.root, tmp_path / "log", "dashboard", "/_stcore/health") as address:
        urllib.request.urlopen(address, timeout=PATIENCE).read()
    assert (tmp_path / "log").read_text() == f"{address}  (Ctrl-C stops)\n"
