"""Dask schedulers and workers in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from tests.support.processes import free_port, wait_for

_numbers = count()


@contextmanager
def dask(role: str, *arguments: str, log: Path) -> Iterator["subprocess.Popen[Any]"]:
    """Run `dask scheduler` or `dask worker` on loopback; its messages go to `log`."""
    command = (sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments, "--host", "127.0.0.1")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for_line(process: "subprocess.Popen[Any]", line: bytes, log: Path) -> None:
    def is_written() -> bool:
        assert process.poll() is None, log.read_text()
        return line in log.read_bytes()

    wait_for(f"{line!r} in {log}", is_written)


@contextmanager
def scheduler(folder: Path, port: int | None = None) -> Iterator[tuple[str, "subprocess.Popen[Any]"]]:
    """Run a scheduler; yield its address and process."""
    port = port or free_port()
    log = folder / f"scheduler-{next(_numbers)}.log"
    with dask("scheduler", "--port", str(port), "--no-dashboard", log=log) as process:
        _wait_for_line(process, b"Scheduler at", log)
        yield f"tcp://127.0.0.1:{port}", process


@contextmanager
def worker(folder: Path, address: str, *arguments: str) -> Iterator["subprocess.Popen[Any]"]:
    """Run a worker with one thread, once it has joined; without a nanny, which would restart it."""
    options = (address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
    log = folder / f"worker-{next(_numbers)}.log"
    with dask("worker", *options, *arguments, log=log) as process:
        _wait_for_line(process, b"Registered to:", log)
        yield process


def after(rows: int, act: Callable[[], object]) -> Callable[[int, float, int], None]:
    """Return a callback of progress that acts once, when this number of rows is finished."""
    acts = iter([act])

    def on_rows(done: int, share: float, workers: int) -> None:
        if done >= rows:
            next(acts, lambda: None)()

    return on_rows


def local_workers() -> list[psutil.Process]:
    """Return the worker processes that this process has started as `local:N`."""

    def is_worker(process: psutil.Process) -> bool:
        with suppress(psutil.Error):  # it has ended meanwhile
            return "spawn_main" in " ".join(process.cmdline())
        return False

    return list(filter(is_worker, psutil.Process().children(recursive=True)))


def kill_local_worker() -> None:
    os.kill(local_workers()[0].pid, signal.SIGKILL)
