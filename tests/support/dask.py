"""Dask schedulers and workers in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.processes import free_port, wait_for


@contextmanager
def dask(role: str, *arguments: str, log: Path) -> Iterator["subprocess.Popen[Any]"]:
    """Run `dask scheduler` or `dask worker` on loopback; its messages go to `log`."""
    command = (sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments, "--host", "127.0.0.1")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    with log.open("ab") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def scheduler(folder: Path, port: int | None = None) -> Iterator[tuple[str, "subprocess.Popen[Any]"]]:
    """Run a scheduler; yield its address and process."""
    port = port or free_port()
    log = folder / "scheduler.log"
    with dask("scheduler", "--port", str(port), "--no-dashboard", log=log) as process:
        wait_for("the scheduler", lambda: b"Scheduler at" in log.read_bytes())
        yield f"tcp://127.0.0.1:{port}", process


@contextmanager
def worker(folder: Path, address: str, *arguments: str) -> Iterator["subprocess.Popen[Any]"]:
    """Run a worker with one thread and without a nanny, which would restart it."""
    options = (address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
    with dask("worker", *options, *arguments, log=folder / "worker.log") as process:
        yield process


def local_workers() -> list[psutil.Process]:
    """Return the worker processes that this process has started as `local:N`."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def kill_local_worker() -> None:
    os.kill(local_workers()[0].pid, signal.SIGKILL)
