"""The HTTP service in a process of its own."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from churnops.settings import Settings
from tests.support.processes import PATIENCE, free_port, start, wait_for


@dataclass(frozen=True)
class Server:
    """A running service, started as `churnops serve` starts it."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def megabytes(self, name: str = "VmRSS") -> float:
        """Return the memory of the process in MiB: now, or its peak (`VmHWM`)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))

    def send(self, *pieces: bytes, pause: float = 0.0, timeout: float = PATIENCE) -> bytes:
        """Send bytes over a new connection; return all received bytes until it is closed, or silent after an answer."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
                while data := connection.recv(65536):
                    received += data
                    if _is_whole(received):
                        connection.settimeout(0.3)
            except (TimeoutError, ConnectionError):
                pass
        return received


SERVE = """
import sys
from pathlib import Path
from churnops.api.server import serve
from churnops.settings import load_settings
config = Path(sys.argv[1])
serve(load_settings(config), config, "127.0.0.1", int(sys.argv[2]), int(sys.argv[3]))
"""


@contextmanager
def serving(settings: Settings, *, workers: int = 1, fresh: bool = False) -> Iterator[Server]:
    """Serve a project on a free port of this machine, with temporary files in the project's folder.

    Tests of memory need a `fresh` interpreter, because a fork shares the memory of its server.
    """
    port = free_port()
    temporary = settings.root / "tmp"
    temporary.mkdir(exist_ok=True)
    log = settings.root / "server.log"
    with log.open("wb") as output:
        process = (subprocess.Popen if fresh else start)(
            [sys.executable, "-c", SERVE, str(settings.root / "config.yaml"), str(port), str(workers)],
            stderr=output,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
    server = Server(port, process, log)
    try:
        wait_for_server(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_whole(received: bytes) -> bool:
    """Return whether the first answer is complete; an answer 100 (Continue) is none."""
    head, end, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"^content-length: *(\d+)", head, re.I | re.M)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")


def wait_for_server(server: Server) -> None:
    """Wait until a service is ready."""
    wait_for("the service is ready", lambda: _ready(server))


def _ready(server: Server) -> bool:
    if server.process.poll() is not None:
        raise RuntimeError(server.log.read_text())
    try:
        return b" 200 " in server.send(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    except ConnectionError:
        return False
