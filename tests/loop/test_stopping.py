"""The service ends in time, whatever it is doing, and with the process that started it."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from churnops.settings import Settings
from tests.support.processes import PATIENCE, free_port, start, wait_for
from tests.support.projects import deployed
from tests.support.serving import Server

SERVE = """
import sys, time
from pathlib import Path
from churnops.api import customers, main, predict, server, service
from churnops.journal.journal import Journal
from churnops.journal.writer import JournalWriter
from churnops.settings import load_settings

def stuck(*_, **__):
    print("stuck", flush=True)
    while True:
        time.sleep(1000)

server.DRAIN_SECONDS, service.CLOSE_SECONDS, main.WORKER_SECONDS = 1, 1.0, 120.0
exec(sys.argv[3])
config = Path(sys.argv[1])
server.serve(load_settings(config), config, "127.0.0.1", int(sys.argv[2]), 1)
"""
LABEL = b'{"customer_id": "C", "churned": true}'
STUCK = {
    "the event loop": ("predict.Predict.__call__, main.WORKER_SECONDS = stuck, 4.0", "/predict", b"{}", 1),
    "a computation": ("customers.parse_list = stuck", "/predict/batch", b"[" + b" " * 10_000 + b"{}]", 0),
    "a question to the journal": (
        "Journal.record_labels = stuck",
        "/labels",
        b'{"customer_id": "C", "churned": true}',
        0,
    ),
    "the closing of the journal": ("JournalWriter.close = stuck", "/health/live", b"", 0),
}


@pytest.mark.parametrize("what", STUCK)
def test_service_ends_when_something_is_stuck(tmp_path: Path, project: tuple[Settings, object], what: str):
    patch, path, body, code = STUCK[what]
    settings = deployed(tmp_path, project[0])
    with _serving(settings, patch) as (process, port, log):
        statuses: list[int] = []
        client = threading.Thread(target=lambda: statuses.append(_ask(port, path, body)), daemon=True)
        client.start()
        if what != "the closing of the journal":
            wait_for("it is stuck", lambda: "stuck" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == code, log.read_text()
    client.join(PATIENCE)
    if path in ("/predict/batch", "/labels"):
        assert statuses == [503]  # the service is stopping
    if code:
        assert "Timeout" in log.read_text()  # where every thread was


@contextmanager
def _serving(settings: Settings, patch: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    port, log = free_port(), settings.root / "stuck.log"
    command = [sys.executable, "-c", SERVE, str(settings.root / "config.yaml"), str(port), patch]
    with log.open("wb") as output:
        process = start(command, cwd=settings.root, stdout=output, stderr=output)
    try:
        wait_for("the service answers", lambda: _ask(port, "/health/live", b"") == 200)
        yield process, port, log
    finally:
        process.kill()
        process.wait()


def _ask(port: int, path: str, body: bytes) -> int:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection, suppress(OSError):
        connection.request("POST" if body else "GET", path, body or None, {"Content-Type": "application/json"})
        return connection.getresponse().status
    return 0


def test_workers_end_when_their_parent_is_killed(tmp_path: Path, project: tuple[Settings, object]):
    settings = deployed(tmp_path, project[0])
    with Server(settings, "--workers", "2") as server:
        workers = wait_for("both workers answer", lambda: len(server.workers()) == 2 and server.workers())
        server.kill()
        wait_for("nobody listens", server.refuses_connections)
        for worker in workers:
            wait_for("the worker ends", lambda worker=worker: not _runs(worker))


def test_a_worker_that_a_busy_machine_starves_is_kept(tmp_path: Path, project: tuple[Settings, object]):
    settings = deployed(tmp_path, project[0])
    with Server(settings, "--workers", "2") as server:
        one, other = sorted(wait_for("both workers answer", lambda: len(server.workers()) == 2 and server.workers()))
        with server.only(one):
            time.sleep(7)
        assert _runs(other)
        assert server.workers() == {one, other}


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
