"""Project of the demonstration: a folder, and the product's commands as processes."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from churnops.demo.plan import DemoPlan
from churnops.errors import ChurnopsError
from churnops.settings import Settings, apply_permissions, load_settings

PACKAGE = Path(__file__).parent
DATA = ("data/raw/churn-80.csv", "data/raw/churn-20.csv", "data/production/churn-later.csv")
COMMAND = (sys.executable, "-m", "churnops.cli")
START_SECONDS = 120.0  # limit for the service's start, on a busy machine
STOP_SECONDS = 60.0  # limit for a process to stop
END_OF_LOG = 1500  # characters of a log that are shown when its process fails


class DemoProject:
    """Folder with settings, data and the files of the commands. An existing one is used again."""

    def __init__(self, folder: Path, plan: DemoPlan) -> None:
        folder = folder.resolve()  # commands run in it
        self.folder = folder
        self.port = free_port()
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        for name in DATA:
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((PACKAGE / name).read_bytes())
        config = folder / "config.yaml"
        config.write_text(plan.config(self.port), encoding="utf-8")
        self.settings: Settings = load_settings(config, environment={})
        apply_permissions(self.settings)
        self._every = f"{plan.cycle_seconds}s"

    @property
    def sources(self) -> tuple[Path, ...]:
        """Tables that customers are drawn from. The first model is not trained on them."""
        return tuple(self.folder / name for name in DATA[1:])

    @property
    def deployed(self) -> bool:
        """Whether a model is deployed."""
        return (self.settings.path(self.settings.registry.directory) / "production").exists()

    def train(self) -> None:
        """Run the main job, which deploys the first model."""
        with self._started("run", "run", "--json") as process:
            process.join()

    def answer(self, name: str, *arguments: str) -> str:
        """Run a command to its end and return its standard output; its log has the rest.

        Raises
        ------
        ChurnopsError
            If it failed, with the end of its log.
        """
        with (self.logs / f"{name}.log").open("ab") as log:
            done = subprocess.run(
                (*COMMAND, *arguments), cwd=self.folder, stdout=subprocess.PIPE, stderr=log, env=_clean()
            )
        if done.returncode:
            log_end = end_of(self.logs / f"{name}.log")
            raise ChurnopsError(f"churnops {arguments[0]} failed with {done.returncode}: {log_end}")
        return done.stdout.decode("utf-8")

    @contextmanager
    def serving(self) -> Iterator["Process"]:
        """Serve until the end of the block, which begins when the service is ready."""
        with self._started("serve", "serve") as process:
            deadline = time.monotonic() + START_SECONDS
            while not _ready(f"http://127.0.0.1:{self.port}/health/ready"):
                process.check()
                if time.monotonic() > deadline:
                    raise ChurnopsError(f"the service is not ready after {START_SECONDS:.0f} seconds: see {self.logs}")
                time.sleep(0.1)
            yield process

    @contextmanager
    def monitoring(self, alert_url: str) -> Iterator["Process"]:
        """Monitor, with automatic retraining, until the end of the block."""
        with self._started("monitor", "monitor", "--every", self._every, CHURNOPS_ALERTS__URLS=f'["{alert_url}"]') as p:
            yield p

    @contextmanager
    def _started(self, name: str, *arguments: str, **variables: str) -> Iterator["Process"]:
        process = Process(name, self.logs / f"{name}.log", (*COMMAND, *arguments), self.folder, _clean() | variables)
        try:
            yield process
        finally:
            process.stop()


class Process:
    """Running command of the product, with its output in a log."""

    def __init__(self, name: str, log: Path, command: tuple[str, ...], cwd: Path, environment: dict[str, str]) -> None:
        self._name = name
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, cwd=cwd, stdout=file, stderr=file, env=environment)

    def check(self) -> None:
        """Raise a `ChurnopsError` with the end of the log if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ChurnopsError(f"churnops {self._name} ended with {code}: {end_of(self._log)}")

    def join(self) -> None:
        """Wait for the end; raise a `ChurnopsError` with the end of the log if the process failed."""
        if code := self._process.wait():
            raise ChurnopsError(f"churnops {self._name} failed with {code}: {end_of(self._log)}")

    def stop(self) -> None:
        """Stop the process, and wait for its end."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def alert_sink(on_alert: Callable[[str, str], None]) -> Iterator[str]:
    """Listen for alerts on loopback and yield the address; call `on_alert` with each title and text."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            on_alert(body["title"], body["message"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet: the terminal shows the alerts themselves."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def end_of(log: Path) -> str:
    """Return the end of a log."""
    return log.read_text(encoding="utf-8", errors="replace")[-END_OF_LOG:].strip()


def _clean() -> dict[str, str]:
    """Return the environment without variables that change the commands' settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CHURNOPS_", "MLFLOW_TRACKING"))}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true"}


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310  (an address of loopback)
            return bool(answer.status == 200)
    except OSError:  # not listening yet, or not ready
        return False
