"""The application over a copy of the small project's deployment, with a journal and keys of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.api.main import create_app
from churnops.journal.database import open_database
from churnops.journal.key_record import KeyRecord
from churnops.journal.keys import KeyStore
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings, load_settings
from tests.conftest import write_project

LOCAL = ("127.0.0.1", 50000)


def deployed(folder: Path, project: Settings, **sections: dict[str, Any]) -> Settings:
    """Make a project in `folder` with another's model deployed; keyword arguments change sections of its settings."""

    def change(document: dict[str, Any]) -> None:
        for name, values in sections.items():
            document[name] |= values

    if not (folder / "models").exists():
        shutil.copytree(project.path("models"), folder / "models", symlinks=True)
    return load_settings(write_project(folder, change))


@pytest.fixture
def make_settings(tmp_path: Path, project: tuple[Settings, RunSummary]) -> Callable[..., Settings]:
    """Make a project with the small project's model deployed; keyword arguments change sections of its settings."""
    return lambda **sections: deployed(tmp_path, project[0], **sections)


@pytest.fixture
def api_settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


def client_of(settings: Settings, key: str | None = None) -> TestClient:
    headers = {"x-api-key": key} if key else {}
    return TestClient(create_app(settings), base_url="http://127.0.0.1", client=LOCAL, headers=headers)


def make_key(settings: Settings, *scopes: str, name: str = "tests") -> str:
    engine = open_database(settings.database_url(settings.journal.url))
    token = KeyStore(engine, KeyRecord(settings.path(settings.registry.directory))).add(name, scopes)
    engine.dispose()
    return token


@pytest.fixture
def client(api_settings: Settings) -> Iterator[TestClient]:
    """A client from this machine, where no key exists."""
    with client_of(api_settings) as client:
        yield client


@pytest.fixture
def bundle(api_settings: Settings) -> Bundle:
    return Bundle.load(api_settings.path("models/production"))


@pytest.fixture
def customer() -> dict[str, Any]:
    """A customer of the raw table, with every input."""
    return a_customer()


def a_customer(**changes: Any) -> dict[str, Any]:
    customer: dict[str, Any] = json.loads(
        """{"customer_id": "C-1", "state": "KS", "account_length": 128, "area_code": "415", "international_plan": "No",
            "voice_mail_plan": "Yes", "number_vmail_messages": 25, "total_day_minutes": 265.1, "total_day_calls": 110,
            "total_day_charge": 45.07, "total_eve_minutes": 197.4, "total_eve_calls": 99, "total_eve_charge": 16.78,
            "total_night_minutes": 244.7, "total_night_calls": 91, "total_night_charge": 11.01,
            "total_intl_minutes": 10.0, "total_intl_calls": 3, "total_intl_charge": 2.7, "customer_service_calls": 1}"""
    )
    return customer | changes


@dataclass(frozen=True)
class Server:
    """A service in a process of its own, as `churnops serve` starts it."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def megabytes(self, name: str = "VmRSS") -> float:
        """Memory now, or its peak (`VmHWM`)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))

    def send(self, *pieces: bytes, pause: float = 0.0, timeout: float = 20.0) -> bytes:
        """Send bytes over a connection of their own; return all that comes back until it is closed or silent."""
        received = []
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
                while data := connection.recv(65536):
                    received.append(data)
                    if b"\r\n\r\n" in data:
                        connection.settimeout(0.3)
            except (TimeoutError, ConnectionError):
                pass
        return b"".join(received)


SERVE = """
import sys
from pathlib import Path
from churnops.api.server import serve
from churnops.settings import load_settings
config = Path(sys.argv[1])
serve(load_settings(config), config, "127.0.0.1", int(sys.argv[2]), int(sys.argv[3]))
"""


@contextmanager
def serving(settings: Settings, *, workers: int = 1) -> Iterator[Server]:
    """Serve a project on a free port of this machine, with temporary files in the project's folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    temporary = settings.root / "tmp"
    temporary.mkdir(exist_ok=True)
    log = settings.root / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
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


def wait_for_server(server: Server) -> None:
    """Return when a service is ready."""
    for _ in range(600):
        if server.process.poll() is not None:
            raise RuntimeError(server.log.read_text())
        if b" 200 " in _try(server, b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"):
            return
        time.sleep(0.1)


def _try(server: Server, request: bytes) -> bytes:
    try:
        return server.send(request)
    except ConnectionError:
        return b""


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """Check that an answer is an error as RFC 9457 writes it, and small; return it."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.content) < 4096
    problem: dict[str, Any] = response.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "request_id"}
    assert problem["type"].startswith("urn:churnops:problem:")
    assert problem["status"] == status
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["request_id"] == response.headers["x-request-id"]
    for error in problem.get("errors", []):
        assert error["rule"]
        assert error["message"]
    return problem


def recorded(settings: Settings) -> int:
    """Return how many predictions the journal holds."""
    engine = open_database(settings.database_url(settings.journal.url))
    with engine.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar()
    engine.dispose()
    return int(count or 0)
