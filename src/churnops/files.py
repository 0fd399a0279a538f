"""What the operating system promises: locks between processes, what is on disk after a power cut, usable cores."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def as_text(path: Path) -> str:
    r"""Return a path as text that every document and database takes, also where a name is no UTF-8.

    >>> as_text(Path("caf\udce9.csv"))
    'caf\\udce9.csv'
    """
    return str(path).encode("utf-8", "backslashreplace").decode()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait for, and hold, a lock that other processes on this machine respect; a killed process lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def lock_folder(folder: Path) -> Iterator[bool]:
    """Make a folder if need be, and hold a lock on it; yield False, without waiting, if another process holds it.

    The lock is on the folder itself, so nothing of it stays when the folder is removed.
    """
    descriptor, held = _lock(folder)
    try:
        yield held
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> tuple[int, bool]:
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # its holder removed it meanwhile
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor, True
        except BlockingIOError:
            return descriptor, False
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the folder was removed before it was locked


def write_flushed(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all, on disk before it has its name."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:  # a full disk must not be kept full by what is worth nothing
        unfinished.unlink(missing_ok=True)
        raise


def fsync_folder(folder: Path) -> None:
    """Flush a folder's entries (created, renamed) to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def low_priority() -> Iterator[None]:
    """Let everything else on this machine go first, in this thread and those it starts.

    Afterwards the priority is what it was, where the system allows that; where it does not, it stays low.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, 19)  # of the calling thread, on Linux
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
