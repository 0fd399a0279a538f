"""Start of the service: uvicorn with one or several workers."""

import logging
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from churnops.address import is_loopback
from churnops.api.connection import Connection
from churnops.api.stopping import DRAIN_SECONDS, STOP_SECONDS, WORKER_SECONDS, ending_within
from churnops.errors import SettingsError
from churnops.files import temporary_folder
from churnops.model.deployed import deployed_folder
from churnops.port import address, bound_sockets
from churnops.project import Project
from churnops.settings import ENV_CONFIG, Settings
from churnops.traces import recording

APPLICATION = "churnops.api.main:app"
HEALTHCHECK_SECONDS = 20  # without a sign of life of a worker, also while it starts on a busy machine
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")


def serve(settings: Settings, config: Path, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the current requests.

    Raises
    ------
    SettingsError
        If other machines could reach the service and no API key is valid.
    ChurnopsError
        If the address cannot be used, for example because the port is taken, or traces cannot be recorded.
    """
    with recording(settings.traces):
        pass  # a missing extra or a wrong variable is found here, and not in each worker
    with Project.open(settings) as project:
        project.keys.record()
        keys = project.keys.active()
        if project.place.current() is None:  # otherwise the service follows the store by itself
            project.place.refresh()
    if not keys and not is_loopback(host):
        raise SettingsError(
            f"no API key is valid, and other machines can reach {host}: "
            "run `churnops keys add NAME --scope predict`, or serve on 127.0.0.1"
        )
    os.environ[ENV_CONFIG] = str(config)  # workers are processes of their own
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    sockets = bound_sockets(host, port)
    notice = _StartLine(host, port, settings.models)
    # At its end uvicorn raises the stopping signal again; the exit code is to be 0 nevertheless.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        if workers > 1:  # for the metrics of all workers
            folder = stack.enter_context(temporary_folder("churnops-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        server = uvicorn.Config(
            APPLICATION,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http=Connection,
            ws="none",
            lifespan="on",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_level=logging.WARNING,
            timeout_keep_alive=30,
            timeout_worker_healthcheck=HEALTHCHECK_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        _run(server, sockets, notice)


@dataclass(frozen=True)
class _StartLine:
    """Lines for the terminal once the service listens: its address, and whether a model is missing."""

    host: str
    port: int
    models: Path

    def show(self) -> None:
        sys.stderr.write(f"{address(self.host, self.port)}  (Ctrl-C stops)\n")
        if deployed_folder(self.models) is None:
            sys.stderr.write("no model is deployed, so predictions are refused (503): run `churnops run`\n")


def _run(config: uvicorn.Config, sockets: list[socket.socket], notice: _StartLine) -> None:
    """Run as `uvicorn.run` does, with a limit for the time that workers need to end."""
    if config.workers > 1:
        supervisor = _ServerProcesses(config, sockets, notice)
        with ending_within(STOP_SECONDS):
            supervisor.run()
        return
    server = _Server(config, notice)
    with suppress(KeyboardInterrupt):
        server.run(sockets)
    if not server.started:
        sys.exit(STARTUP_FAILURE)


class _Server(uvicorn.Server):
    """Service in this process; shows its notice once it listens."""

    def __init__(self, config: uvicorn.Config, notice: _StartLine) -> None:
        super().__init__(config)
        self._notice = notice

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then show the notice."""
        await super().startup(sockets)
        self._notice.show()


class _ServerProcesses(Multiprocess):
    """Worker processes that share sockets; they are killed if they do not end in time."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], notice: _StartLine) -> None:
        super().__init__(config, sockets)
        self._notice: _StartLine | None = notice

    def keep_subprocess_alive(self) -> None:
        """Replace dead workers; show the notice once a worker listens. uvicorn calls this twice a second."""
        super().keep_subprocess_alive()
        if self._notice and all(bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for bound in self.sockets):
            self._notice.show()
            self._notice = None

    def join_all(self) -> None:
        """Wait for all workers."""
        deadline = time.monotonic() + WORKER_SECONDS
        for worker in self.processes:
            worker.process.join(max(deadline - time.monotonic(), 0.0))
            worker.process.kill()
            worker.process.join()
