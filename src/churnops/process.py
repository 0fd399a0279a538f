"""Names of processes, by which another process of the same machine can check whether they have ended."""

import os
import socket
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Return the name of this process: machine, process id and start time."""
    return _name(os.getpid())


@cache
def _name(pid: int) -> str:  # cached by process id, because a forked process has another one
    return f"{_machine()}:{pid}:{_started(pid)}"


def _machine() -> str:
    """Return the host and the namespace of its process ids: containers with one host name count them separately."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.stat().st_ino if namespace.exists() else ''}"


def has_ended(name: str) -> bool:
    """Return whether a process of this machine has ended; false if that is unknown.

    A process of another machine is never taken for ended. The start time tells a process from a later one with the
    same id.

    >>> has_ended(this_process()), has_ended("another-machine:1:1"), has_ended("")
    (False, False, False)
    >>> has_ended(f"{this_process()}0")
    True
    """
    machine, _, process = name.rpartition(":")[0].rpartition(":")
    if machine != _machine() or not process.isdecimal():
        return False
    return _started(int(process)) != name.rpartition(":")[2]


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
