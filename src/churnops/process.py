"""Names of processes, by which another process of the same machine can check whether they have ended."""

import os
import socket
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Return the name of this process: host, process id and start time."""
    return _name(os.getpid())


@cache
def _name(pid: int) -> str:  # cached by process id, because a forked process has another one
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


def has_ended(name: str) -> bool:
    """Return whether a process of this machine has ended; false if that is unknown.

    A process of another machine is never taken for ended. The start time tells a process from a later one with the
    same id.

    >>> has_ended(this_process()), has_ended("another-machine:1:1"), has_ended("")
    (False, False, False)
    >>> has_ended(f"{socket.gethostname()}:{os.getpid()}:0")
    True
    """
    host, pid, started = ["", "", "", *name.rsplit(":", 2)][-3:]
    return bool(host) and host == socket.gethostname() and pid.isdecimal() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """Return the start time of a process, in ticks since the machine's start; empty if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if Path("/proc/self").exists() else _running(pid)
    return stat.rpartition(")")[2].split()[19]


def _running(pid: int) -> str:
    """Return a constant for a running process, on systems without `/proc`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running"
