"""`churnops serve` in a process of its own, its answers and log, and deployments beside it."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from churnops.journal import DeploymentLog, open_database
from churnops.journal.layouts import Layout
from churnops.model import Bundle
from churnops.registry import DeploymentFolder
from churnops.registry.place import Place
from churnops.settings import Settings
from tests.support.processes import PATIENCE, free_port, start, wait_for

SERVE = (sys.executable, "-m", "churnops.cli", "serve")
RECORDED = (
    "id",
    "customer_id",
    "churn_probability",
    "churn_prediction",
    "model_version",
    "base_value",
    "explanation_scale",
    "top_shap_features",
    "inputs",
)


@dataclass(frozen=True)
class Answer:
    """One complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`churnops serve` on a free port of loopback, in the project of `settings`. Each start has a new port."""

    def __init__(
        self, settings: Settings, *arguments: str, cwd: Path | None = None, command: Sequence[str] = SERVE
    ) -> None:
        self.settings = settings
        self._arguments = arguments
        self._command = command
        self._cwd = cwd or settings.root
        self.temporary = settings.root / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self._log_path = settings.root / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=60)
            self.kill()

    def start(self) -> None:
        """Start the service, and wait until it answers."""
        self.port = free_port()
        command = (*self._command, "--port", str(self.port), *self._arguments)
        with self._log_path.open("ab") as log:
            self._process = start(
                command, cwd=self._cwd, stdout=log, stderr=log, env=os.environ | {"TMPDIR": str(self.temporary)}
            )
        try:
            wait_for("the service answers", self._lives)
        except BaseException:
            self.kill()
            raise

    def unnamed_files(self) -> dict[str, int]:
        """Return the open files without a name in its temporary folder, with their sizes in bytes."""
        assert self._process is not None
        sizes = {}
        for path in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if (file := str(path.readlink())).startswith(f"{self.temporary}/#"):
                    sizes[file] = path.stat().st_size
        return sizes

    def _lives(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()[-4000:]
        try:
            return self.get("/health/live").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None
        self._process.terminate()

    def exit_code(self) -> int:
        """Wait for the end, and return the exit code."""
        assert self._process is not None
        return self._process.wait(timeout=PATIENCE)

    def refuses_connections(self) -> bool:
        """Return whether no process listens on the port."""
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) != 0

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request over a new connection."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(
                method, path, body or None, dict(headers or {}) | ({"Content-Type": kind} if body else {})
            )
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answered, response.read())

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def metric(self, name: str, *labels: str) -> float:
        """Return the sum of a metric over the lines that contain all `labels`."""
        lines = self.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.partition(" ")[0].partition("{")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in found if all(label in line for label in labels))

    def workers(self) -> set[int]:
        """Return the ids of the worker processes, from the names of their metrics files."""
        files = self.temporary.glob("churnops-metrics-*/gauge_livemax_*.db")
        return {int(path.stem.rpartition("_")[2]) for path in files}

    def loaded(self) -> int:
        """Return the number of model loads in the log. A worker is ready after its first."""
        return self.log().count(" is loaded from ")

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let only one worker answer. Keep it short: uvicorn assumes a worker dead that is stopped for seconds."""
        others = self.workers() - {worker}
        try:
            _signal(others, signal.SIGSTOP)
            while self._is_locked():  # by a worker that was stopped while it was writing
                _signal(others, signal.SIGCONT)
                time.sleep(0.05)
                _signal(others, signal.SIGSTOP)
            yield
        finally:
            _signal(others, signal.SIGCONT)

    def _is_locked(self) -> bool:
        """Return whether nobody else can write to a journal in SQLite for a second."""
        journal = self.settings.path("journal.db")
        if not journal.exists():
            return False
        with closing(sqlite3.connect(journal, timeout=1.0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
            return False


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


class Deployer:
    """Deploys as the product does, except for MLflow's aliases."""

    def __init__(self, settings: Settings, kind: Callable[[Path], Place] = Place) -> None:
        self._engine = open_database(settings.database_url(settings.journal.url))
        place = kind(settings.models)
        self.folder = DeploymentFolder(place, DeploymentLog(self._engine), lambda content_sha256: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def deploy(self, bundle: Bundle) -> Path:
        with self.folder.locked():
            return self.folder.deploy(bundle, 1, "a test")


def sqlite_rows(settings: Settings) -> list[tuple[Any, ...]]:
    """Return the journal's predictions with the values of `RECORDED`."""
    with closing(sqlite3.connect(settings.path("journal.db"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return recorded_rows(connection)


def recorded_rows(connection: Any) -> list[tuple[Any, ...]]:
    """Return the predictions of a journal, which is open in its driver, with the values of `RECORDED`."""
    layouts = {
        id_: Layout.read(text) for id_, text in connection.execute("SELECT id, document FROM layouts").fetchall()
    }
    columns = "id, customer_id, churn_probability, churn_prediction, layout, inputs, reasons, rest"
    rows = []
    for *values, id_, inputs, reasons, rest in connection.execute(f"SELECT {columns} FROM predictions").fetchall():
        layout = layouts[id_]
        shared = (layout.model_version, layout.base_value, layout.explanation_scale)
        rows.append((*values, *shared, layout.reasons(reasons, rest), layout.record(inputs, rest)))
    return rows
