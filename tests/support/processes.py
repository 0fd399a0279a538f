"""Commands and servers in processes of their own: how they start, and how long a test waits for them."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHURNOPS = str(Path(sys.executable).with_name("churnops"))
PATIENCE = 300.0  # seconds until a condition counts as failed; far beyond what it takes, also on a loaded machine


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(what: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return what `condition` returns once it is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {what}"
        time.sleep(0.02)


async def until(what: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Do as `wait_for` does, beside the clients of this loop."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {what}"
        await asyncio.sleep(0.001)


def run(*command: str, cwd: Path, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **variables}, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    if code == 2:
        assert "Traceback" not in done.stderr
    return done
