"""Services of the operating system: locks, durable files, permissions, temporary files, priority and usable cores."""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from typing import IO

OTHERS = 0o007
GROUP_AND_OTHERS = 0o077
_closed_to = GROUP_AND_OTHERS


def as_text(path: Path) -> str:
    r"""Return a path as text that every document and database accepts; escape bytes that are not UTF-8.

    >>> as_text(Path("caf\udce9.csv"))
    'caf\\udce9.csv'
    """
    return str(path).encode("utf-8", "backslashreplace").decode()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait for a lock between processes of this machine, and hold it; it is released when its process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def lock_folder(folder: Path) -> Iterator[bool]:
    """Create a folder if it is missing, and lock it; yield False, without waiting, if another process holds the lock.

    The lock is on the folder itself, so removing the folder leaves nothing behind.
    """
    descriptor, held = _lock(folder)
    try:
        yield held
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> tuple[int, bool]:
    while True:
        with suppress(FileExistsError):  # not `exist_ok`, which fails if another process removes the folder just now
            folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # the lock's holder has just removed the folder
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


def lock_holders(path: Path) -> list[int]:
    """Return the process ids that hold a lock on a file or folder, without taking it; empty where `/proc` is missing.

    Processes of another container or machine are not seen.
    """
    try:
        status, lines = path.stat(), Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    rows = [line.split() for line in lines if " -> " not in line]  # an arrow marks a process that waits
    return sorted({int(row[4]) for row in rows if row[1] == "FLOCK" and row[5] == device and int(row[4]) > 0})


def write_flushed(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all: flush it to disk before it gets its name."""
    with flushed_file(path) as file:
        file.write(data)


@contextmanager
def flushed_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name at the end of the block, flushed to disk; after an error it is removed."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:  # free the space on a full disk
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
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def low_priority() -> Iterator[None]:
    """Lower the priority of this thread, and of the threads that it starts, below all other work.

    At the block's end the priority is restored if the system allows that; otherwise the priority stays low.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, 19)  # 0 is the calling thread, on Linux
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def create_files_for(*, group: bool) -> None:
    """Restrict files that this process creates from now on to the user, or to the user and the group.

    This sets the umask of the whole process, so only programs may call it, never a library.
    """
    global _closed_to
    _closed_to = OTHERS if group else GROUP_AND_OTHERS
    os.umask(_closed_to)


def close_to_others(path: Path) -> None:
    """Remove the permissions that `create_files_for` does not allow, by default all but the owner's; follow links.

    A missing path, or one of another account, stays as it is.
    """
    with suppress(FileNotFoundError):
        status = path.stat()
        if status.st_mode & _closed_to and status.st_uid == os.geteuid():
            path.chmod(S_IMODE(status.st_mode) & ~_closed_to)


def temporary_file(suffix: str) -> tuple[IO[bytes], Path]:
    """Open a temporary file for writing; return it with a path for reading while it is open.

    On Linux it has no name in any folder, so even a killed process leaves nothing behind.
    """
    if Path("/proc/self/fd").is_dir():
        file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
        return file, Path(f"/proc/self/fd/{file.fileno()}")
    named = tempfile.NamedTemporaryFile(prefix="churnops-", suffix=suffix)  # noqa: SIM115
    return named, Path(named.name)


@contextmanager
def temporary_folder(prefix: str = "churnops-work-") -> Iterator[Path]:
    """Make a private temporary folder for the block, after removing the folders of killed processes."""
    parent = Path(tempfile.gettempdir())
    for other in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            if other.lstat().st_uid == os.geteuid() and other.is_dir() and not other.is_symlink():
                with lock_folder(other) as abandoned:
                    if abandoned:
                        shutil.rmtree(other, ignore_errors=True)
    held = False
    while not held:
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        with lock_folder(folder) as held:  # not held if another process takes the new folder for an abandoned one
            if held:
                folder.chmod(0o700)
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
