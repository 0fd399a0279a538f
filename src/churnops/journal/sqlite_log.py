"""SQLite's write-ahead log while a service has the journal open: when it is moved, and whose it is.

In WAL mode only a checkpoint writes to the database's file, and leaves its progress in the wal-index (`-shm`). A file
that changed without such progress was overwritten, for example with a backup. The log belongs to the database that was
there before; applied to the new one it would destroy it. A log that is shorter than its index counts, or begins with
other salts, was cut or overwritten.

The layout of the wal-index is documented: https://www.sqlite.org/walformat.html
"""

import ctypes
import logging
import os
import sqlite3
import struct
import time
from contextlib import suppress
from threading import Lock, Thread
from typing import NamedTuple

from sqlalchemy import Engine

from churnops.errors import JournalError
from churnops.journal.database import FILES, check_transactions
from churnops.journal.sqlite_files import OpenedFiles, ReplacedFileError

log = logging.getLogger("churnops.journal")

MAX_FRAMES = 300_000
"""Pages in the log from which it is moved even if there was no moment without commits.

Moving flushes to disk, and meanwhile commits take milliseconds. Up to four pages are logged for a prediction that is
committed alone.
"""

MARK_MILLISECONDS = 1000  # that the mark waits for another commit
RESTS = 50  # attempts to move the rest between two commits
REST_PAUSE_SECONDS = 0.005
RETRY_SECONDS = 5.0  # between attempts while a reader keeps the log from being moved
_OVERWRITTEN = "was overwritten while it was open: restart to use the new content"
_CUT = "lost a part of its log while it was open: restart to use what was moved from the log before"
_HEADER_BYTES = 100
_FRAMES = struct.Struct("=16xI")  # of the wal-index: pages in the log
_LENGTH = struct.Struct("=14xHI")  # and the size of a page before it, 1 for 65,536
_PROGRESS = struct.Struct("=32x8s56xI28xI")  # and the fields of `_Progress`


class _Progress(NamedTuple):
    """Progress of checkpoints in the wal-index; `salts` change when the log begins anew."""

    salts: bytes
    moved: int
    attempted: int

    @property
    def finished(self) -> bool:
        return self.moved == self.attempted


class _Look(NamedTuple):
    """The database's file at one time."""

    changed_at: int
    size: int
    header: bytes


class SqliteLog:
    """Watches the database's file, and moves the log into it. Safe from several threads and beside other processes.

    A checkpoint never waits for a reader or a writer: neither does a commit for a checkpoint that waits.

    Parameters
    ----------
    engine : Engine
        Of a file. From now on each of its transactions checks the file, before it begins and after
        it is committed, and raises a JournalError if it was overwritten.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Borrowed as long as the service runs, so log and index stay the same files.
        self._borrowed = engine.raw_connection()
        self.files: OpenedFiles = self._borrowed.info[FILES]
        self._connection: sqlite3.Connection = self._borrowed.driver_connection  # type: ignore[assignment]
        self._connection.execute("PRAGMA busy_timeout=0")
        # Closed after all connections: closing any descriptor of a file drops all locks that the process has on it.
        self._database = os.open(self.files.database, os.O_RDONLY | os.O_CLOEXEC)
        self._index = os.open(self.files.index, os.O_RDONLY | os.O_CLOEXEC)
        self._frames_file = os.open(self.files.log, os.O_RDONLY | os.O_CLOEXEC)
        self._lock = Lock()
        self._refusal: str | None = None
        self._abandoned = False
        self._settled = (self._look(), self._progress())
        self._seen: tuple[object, ...] = ()
        self._not_before = 0.0
        self._mover: Thread | None = None
        if not self._progress().finished:  # the log was recovered after a crash: whose a change is shows after a move
            self._move()
        check_transactions(engine, self.check)

    def check(self) -> None:
        """Check that the database's file was changed by checkpoints only, and the log is whole; takes microseconds.

        Raises
        ------
        JournalError
            If the database was overwritten, or the log cut. This lasts until the service is restarted.
        """
        if self._refusal is not None:
            raise JournalError(self._refusal)
        if (self._look(), self._progress()) != self._settled:
            self._judge()
        if self._log_is_cut():
            self._refuse(_CUT)

    def _judge(self) -> None:
        with self._lock:
            seen, known = self._settled
            before, look, after = self._progress(), self._look(), self._progress()
            settled = before == after and after.finished
            touched = look[1:] == seen[1:]  # each move by a service changes the header, so the content is the same
            if look != seen and settled and after == known and not touched:
                self._refuse(_OVERWRITTEN)
            if settled:
                self._settled = (look, after)

    def _log_is_cut(self) -> bool:
        """Whether the log has less than its index counts, or begins anew without it. Who empties it says so before."""
        index = self._index_header()
        page, frames = _LENGTH.unpack_from(index)
        if not frames or index[:48] != index[48:]:  # nothing is in it, or somebody is writing the index
            return False
        size, salts = os.fstat(self._frames_file).st_size, os.pread(self._frames_file, 8, 16)
        whole = 32 + frames * (24 + (65_536 if page == 1 else page))
        return (size < whole or salts != index[32:40]) and index == self._index_header()

    def _refuse(self, reason: str) -> None:
        if self._refusal is None:
            self._refusal = f"{self.files.database.name} {reason}"
            self._abandon()
            log.error("%s; its log is set aside", self._refusal)
        raise JournalError(self._refusal)

    def _abandon(self) -> None:
        """Keep the log from ever being applied to the file that is there now."""
        if self._abandoned:
            return
        self._abandoned = True
        # The last connection that is closed moves the log. This one never is, not even when the interpreter ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self.files.set_log_aside()

    def _look(self) -> _Look:
        status = os.fstat(self._database)
        return _Look(status.st_mtime_ns, status.st_size, os.pread(self._database, _HEADER_BYTES, 0))

    def _progress(self) -> _Progress:
        return _Progress(*_PROGRESS.unpack(os.pread(self._index, _PROGRESS.size, 0)))

    def _index_header(self) -> bytes:
        """Return both copies of the part that tells how much is in the log."""
        return os.pread(self._index, 96, 0)

    def _frames(self) -> int:
        frames: int = _FRAMES.unpack(os.pread(self._index, _FRAMES.size, 0))[0]
        return frames

    def rest(self) -> None:
        """Move the log in a thread, if it is long or nothing was committed since the last call. Call it regularly.

        Commits of all kinds and all processes count.
        """
        if not self._sound():
            return
        frames, progress = self._frames(), self._progress()
        waiting = frames - progress.moved
        resting = (frames, progress.salts) == self._seen
        self._seen = (frames, progress.salts)
        moving = self._mover is not None and self._mover.is_alive()
        if waiting and (resting or waiting > MAX_FRAMES) and not moving and time.monotonic() >= self._not_before:
            self._mover = Thread(target=self._move, name="journal-checkpoint", daemon=True)
            self._mover.start()

    def _sound(self) -> bool:
        """Check all files; from a replaced or overwritten one the service does not recover."""
        try:
            self.check()
            self.files.check()
        except ReplacedFileError as error:
            with suppress(JournalError):
                self._refuse(str(error).partition(" ")[2])
        except JournalError:
            if self.files.log_was_set_aside():  # by another worker, which was the first to notice
                with suppress(JournalError):
                    self._refuse(_OVERWRITTEN)
            return False
        return self._refusal is None

    def _move(self) -> None:
        """Move the log to the database beside commits, which flushes both to disk."""
        try:
            self.check()
            before = self._progress()
            self._checkpoint("PASSIVE")
            if self._progress() == before:  # a reader needs the rest of the log, or another process is moving it
                self._not_before = time.monotonic() + RETRY_SECONDS
                return
            mark = self._mark()
            if self._move_rest() and int.from_bytes(self._look().header[60:64]) < mark:
                self._refuse(_OVERWRITTEN)
            self.check()  # from here on a change is not this move's
        except (sqlite3.Error, JournalError) as error:  # it is made later: the log only grows meanwhile
            self._not_before = time.monotonic() + RETRY_SECONDS
            log.debug("the log is not moved: %s", error)

    def _move_rest(self) -> bool:
        """Move the pages that commits add meanwhile, until none is left; return whether all are moved.

        The next commit then begins the log anew. A flush may take tenths of a second: only the last resort, `RESTART`,
        makes commits wait for it.
        """
        for _ in range(RESTS):
            self._checkpoint("PASSIVE")
            if self._frames() == self._progress().moved:
                return True
            time.sleep(REST_PAUSE_SECONDS)
        busy, frames, moved = self._checkpoint("RESTART")
        return not busy and frames == moved

    def _mark(self) -> int:
        """Change the database's header, so that no earlier copy of the file has the same; return the mark."""
        mark = (int(self._connection.execute("PRAGMA user_version").fetchone()[0]) + 1) % 2**31
        self._connection.execute(f"PRAGMA busy_timeout={MARK_MILLISECONDS}")
        try:
            self._connection.execute(f"PRAGMA user_version={mark}")
        finally:
            self._connection.execute("PRAGMA busy_timeout=0")
        return mark

    def _checkpoint(self, mode: str) -> tuple[int, int, int]:
        """Return whether it could not be finished, the pages in the log, and those moved."""
        result: tuple[int, int, int] = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return result

    def close(self) -> None:
        """Close the engine, whose last connection moves the log, unless the log belongs to another file."""
        if self._mover is not None:
            self._mover.join()
        self._sound()
        if self._refusal is not None or not self.files.database.exists():
            self._abandon()
            self._engine.dispose()
            return  # nothing is closed that holds a lock
        self._borrowed.invalidate()  # others cannot use it: it does not wait for locks
        self._engine.dispose()
        os.close(self._database)
        os.close(self._index)
        os.close(self._frames_file)
