"""Commands and servers in processes of their own: starting them and waiting for them."""

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from tests.support.forks import POSSIBLE, Forked

CHURNOPS = str(Path(sys.executable).with_name("churnops"))
PATIENCE = 300.0  # seconds until a condition counts as failed; generous, since the machine may be busy
QUICK = {
    "CHURNOPS_TRAINING__FAMILIES": "[logistic_regression]",
    "CHURNOPS_TRAINING__TRIALS": "{logistic_regression: 1}",
    "CHURNOPS_EVALUATION__BOOTSTRAP_REPLICATES": "100",
}
"""Variables with which `churnops run` takes less time."""


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that nobody uses, and that nobody else gets from here while this process runs.

    It is below the ports that the system gives to connections and to servers that ask for any.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as free, socket.socket(socket.AF_UNIX) as claim:
            try:
                free.bind((address, port))
                if sys.platform == "linux":
                    claim.bind(f"\0churnops-test-port-{port}")
            except OSError:
                continue
            claim.detach()  # open until the process ends
            return port


def wait_for(event: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return the result of `condition` once it is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {event}"
        time.sleep(0.02)


async def until(event: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait as `wait_for` does, while other tasks of this event loop go on."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {event}"
        await asyncio.sleep(0.001)


def start(command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[Any]":
    """Start a command as `subprocess.Popen` does. A Python command is a fork of a server process (see `forks.py`)."""
    python = Path(command[0]).parent == Path(sys.executable).parent  # the interpreter, or a script beside it
    return Forked(command, **options) if python and POSSIBLE else Popen(command, **options)


def run(*command: str, cwd: Path, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and check its exit code. A Python command is a fork, as in `start`."""
    return _run(start, command, cwd, code, variables)


def run_fresh(*command: str, cwd: Path, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as `run` does, in a new interpreter: for tests of imports, start-up, memory and limits."""
    return _run(Popen, command, cwd, code, variables)


def _run(
    begin: Callable[..., "subprocess.Popen[Any]"],
    command: Sequence[str],
    cwd: Path,
    code: int,
    variables: Mapping[str, str],
) -> subprocess.CompletedProcess[str]:
    with begin(command, cwd=cwd, stdout=PIPE, stderr=PIPE, text=True, env={**os.environ, **variables}) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == code, output + errors
    if code == 2:
        assert "Traceback" not in errors
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
