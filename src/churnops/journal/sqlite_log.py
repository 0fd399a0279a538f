"""SQLite's write-ahead log while a service has the journal open: checkpoints, and a watch for overwritten files.

In WAL mode only a checkpoint writes to the database's file, and it records its progress in the wal-index (`-shm`). A
file that changed without such progress was overwritten, for example by a backup. The log belongs to the previous
database, and would destroy the new one if it were applied. A log was cut or overwritten if it is shorter than the
wal-index states, or if its salts (random numbers at its start) differ.

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
"""Number of pages in the log above which it is moved to the database even while commits continue.

The move flushes to disk, so commits take milliseconds during it. A prediction that is committed alone logs up to four
pages.
"""

MARK_MILLISECONDS = 1000  # how long `_mark` waits for another process's commit
RESTS = 50  # attempts to move the rest of the log between two commits
REST_PAUSE_SECONDS = 0.005
RETRY_SECONDS = 5.0  # pause between attempts while a reader blocks the move
_OVERWRITTEN = "was overwritten while it was open: restart the process to use the new content"
_CUT = "lost a part of its log while it was open: restart the process to use the commits that are in the database file"
_HEADER_BYTES = 100
_FRAMES = struct.Struct("=16xI")  # in the wal-index: number of pages in the log
_LENGTH = struct.Struct("=14xHI")  # size of a page (1 for 65,536), number of pages in the log
_PROGRESS = struct.Struct("=32x8s56xI28xI")  # the fields of `_Progress`


class _Progress(NamedTuple):
    """Progress of checkpoints in the wal-index; `salts` change when the log restarts."""

    salts: bytes
    moved: int
    attempted: int

    @property
    def finished(self) -> bool:
        return self.moved == self.attempted


class _State(NamedTuple):
    """State of the database's file."""

    changed_at: int
    size: int
    header: bytes


class SqliteLog:
    """Watches the database's file, and moves the log into it. Safe for several threads and processes.

    A checkpoint does not wait for readers or writers, so no commit waits for a blocked checkpoint.

    Parameters
    ----------
    engine : Engine
        Engine of a database file. From now on, each transaction checks the file at its start and after its commit, and
        raises a JournalError if the file was overwritten.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Kept open as long as the service runs, so log and index stay the same files.
        self._borrowed = engine.raw_connection()
        self.files: OpenedFiles = self._borrowed.info[FILES]
        self._connection: sqlite3.Connection = self._borrowed.driver_connection  # type: ignore[assignment]
        self._connection.execute("PRAGMA busy_timeout=0")
        # Closed after all connections: closing any descriptor of a file drops all of the process's locks on it.
        self._database = os.open(self.files.database, os.O_RDONLY | os.O_CLOEXEC)
        self._index = os.open(self.files.index, os.O_RDONLY | os.O_CLOEXEC)
        self._frames_file = os.open(self.files.log, os.O_RDONLY | os.O_CLOEXEC)
        self._lock = Lock()
        self._refusal: str | None = None
        self._abandoned = False
        self._settled = (self._state(), self._progress())
        self._seen: tuple[object, ...] = ()
        self._not_before = 0.0
        self._mover: Thread | None = None
        if not self._progress().finished:  # a crash cut off the move; `_judge` compares with a finished one
            self._move()
        check_transactions(engine, self.check)

    def check(self) -> None:
        """Check in microseconds that only checkpoints changed the database's file and that the log is whole.

        Raises
        ------
        JournalError
            If the database was overwritten or the log cut, until the service is restarted.
        """
        if self._refusal is not None:
            raise JournalError(self._refusal)
        if (self._state(), self._progress()) != self._settled:
            self._judge()
        if self._log_is_cut():
            self._refuse(_CUT)

    def _judge(self) -> None:
        with self._lock:
            seen, known = self._settled
            before, state, after = self._progress(), self._state(), self._progress()
            settled = before == after and after.finished
            touched = state[1:] == seen[1:]  # only the time differs: an earlier copy has another header, see `_mark`
            if state != seen and settled and after == known and not touched:
                self._refuse(_OVERWRITTEN)
            if settled:
                self._settled = (state, after)

    def _log_is_cut(self) -> bool:
        """Return whether the log lost pages or has foreign salts. SQLite causes neither: it changes the index first."""
        index = self._index_header()
        page, frames = _LENGTH.unpack_from(index)
        if not frames or index[:48] != index[48:]:  # the log is empty, or the index is being written
            return False
        size, salts = os.fstat(self._frames_file).st_size, os.pread(self._frames_file, 8, 16)
        whole = 32 + frames * (24 + (65_536 if page == 1 else page))
        return (size < whole or salts != index[32:40]) and index == self._index_header()

    def _refuse(self, reason: str) -> None:
        if self._refusal is None:
            self._refusal = f"{self.files.database.name} {reason}"
            self._abandon()
            log.error("%s; its log is renamed", self._refusal)
        raise JournalError(self._refusal)

    def _abandon(self) -> None:
        """Prevent the log from being applied to the present file."""
        if self._abandoned:
            return
        self._abandoned = True
        # Closing the last connection would move the log. So this connection stays open, even at the interpreter's end.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self.files.set_log_aside()

    def _state(self) -> _State:
        status = os.fstat(self._database)
        return _State(status.st_mtime_ns, status.st_size, os.pread(self._database, _HEADER_BYTES, 0))

    def _progress(self) -> _Progress:
        return _Progress(*_PROGRESS.unpack(os.pread(self._index, _PROGRESS.size, 0)))

    def _index_header(self) -> bytes:
        """Return both copies of the index header, which holds the length of the log."""
        return os.pread(self._index, 96, 0)

    def _frames(self) -> int:
        frames: int = _FRAMES.unpack(os.pread(self._index, _FRAMES.size, 0))[0]
        return frames

    def rest(self) -> None:
        """Move the log in a thread, if it is long or no process committed since the last call. Call it regularly."""
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
        """Return whether all files are the opened ones, and whole; refuse others until the service restarts."""
        try:
            self.check()
            self.files.check()
        except ReplacedFileError as error:
            with suppress(JournalError):
                self._refuse(str(error).partition(" ")[2])
        except JournalError:
            if self.files.log_was_set_aside():  # another worker noticed first
                with suppress(JournalError):
                    self._refuse(_OVERWRITTEN)
            return False
        return self._refusal is None

    def _move(self) -> None:
        """Move the log to the database while commits continue; flushes both to disk."""
        try:
            self.check()
            before = self._progress()
            self._checkpoint("PASSIVE")
            if self._progress() == before:  # a reader needs the rest of the log, or another process is moving it
                self._not_before = time.monotonic() + RETRY_SECONDS
                return
            mark = self._mark()
            if self._move_rest() and int.from_bytes(self._state().header[60:64]) < mark:
                self._refuse(_OVERWRITTEN)
            self.check()  # records the state after this move
        except (sqlite3.Error, JournalError) as error:  # a later call tries again; until then the log only grows
            self._not_before = time.monotonic() + RETRY_SECONDS
            log.debug("SQLite's log is not moved into the database yet: %s", error)

    def _move_rest(self) -> bool:
        """Move the pages that commits added during the move; return whether no page is left.

        The next commit then restarts the log. A flush may take tenths of a second. Commits wait for it only in the
        last resort, `RESTART`.
        """
        for _ in range(RESTS):
            self._checkpoint("PASSIVE")
            if self._frames() == self._progress().moved:
                return True
            time.sleep(REST_PAUSE_SECONDS)
        busy, frames, moved = self._checkpoint("RESTART")
        return not busy and frames == moved

    def _mark(self) -> int:
        """Change the database's header so that it differs from every earlier copy; return the new mark."""
        mark = (int(self._connection.execute("PRAGMA user_version").fetchone()[0]) + 1) % 2**31
        self._connection.execute(f"PRAGMA busy_timeout={MARK_MILLISECONDS}")
        try:
            self._connection.execute(f"PRAGMA user_version={mark}")
        finally:
            self._connection.execute("PRAGMA busy_timeout=0")
        return mark

    def _checkpoint(self, mode: str) -> tuple[int, int, int]:
        """Run a checkpoint; return three numbers: 1 if it was blocked (else 0), pages in the log, and moved pages."""
        result: tuple[int, int, int] = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return result

    def close(self) -> None:
        """Close the engine. Its last connection moves the log, unless the log belongs to another file."""
        if self._mover is not None:
            self._mover.join()
        self._sound()
        if self._refusal is not None or not self.files.database.exists():
            self._abandon()
            self._engine.dispose()
            return  # the descriptors stay open, because closing them would drop locks
        self._borrowed.invalidate()  # this connection does not wait for locks, so the pool must not reuse it
        self._engine.dispose()
        os.close(self._database)
        os.close(self._index)
        os.close(self._frames_file)
