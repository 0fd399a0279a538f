"""Group commit: predictions that arrive during one commit are written by the next one."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from churnops.errors import JournalError
from churnops.journal.database import commit_directly, is_sqlite_file, reason
from churnops.journal.exposures import Exposure
from churnops.journal.predictions import PredictionRow, insert_predictions, write_nothing
from churnops.journal.shadow_scores import ShadowScore, insert_scores
from churnops.traces import current, shared_span

if TYPE_CHECKING:
    from churnops.traces.recorder import Span

LOOP_ROWS = 500
"""Largest number of rows that the asyncio loop commits itself, in a few milliseconds; a thread commits more."""

MAX_GROUP_ROWS = 1_000
"""Number of rows above which a transaction accepts no further append, so that the first append does not wait long."""

BLOCKED_SECONDS = 2.0
"""Time that an append may wait before the journal counts as blocked."""

IDLE_SECONDS = 30.0  # a successful write is trusted for this long
RETRY_SECONDS = 1.0  # pause between attempts after a failed write
COMMIT = "INSERT predictions"


class _Append(NamedTuple):
    at: float
    rows: Sequence[PredictionRow]
    exposures: Sequence[Exposure]
    scores: Sequence[ShadowScore]
    written: asyncio.Future[None]
    span: "Span | None"

    @property
    def size(self) -> int:
        """Number of rows that the append keeps waiting."""
        return len(self.rows) + len(self.scores)


class JournalWriter:
    """Writes predictions from one asyncio loop, one group at a time, on the loop (`inline`) or in a thread.

    A commit that is flushed to disk takes milliseconds for any number of rows. So all rows that arrive meanwhile go
    into the next commit. The rows of one append are in one transaction. While the database fails, appends fail; the
    writer recovers with the database.

    Parameters
    ----------
    max_pending : int
        Number of rows that may wait. More are refused: an endless queue would only delay the failure.
    timeout : float
        Seconds that an append may wait for its commit.
    inline : bool
        Whether the loop itself commits if the database is a SQLite file and no other process is writing. Otherwise the
        thread commits. Useful if commits are not flushed to disk: they are quicker than handing over to the thread.
    """

    def __init__(
        self, engine: Engine, *, max_pending: int = 20_000, timeout: float = 30.0, inline: bool = False
    ) -> None:
        self._engine = engine
        self._max_pending = max_pending
        self._timeout = timeout
        self._inline = inline and is_sqlite_file(engine)
        system = {"db.system.name": engine.dialect.name}  # attributes of a commit's span
        self._about = system | {"db.operation.name": "INSERT", "db.collection.name": "predictions"}
        self._connection: Connection | None = None  # the loop's own connection
        # Only the loop uses these: waiting appends, number of uncommitted rows, whether the thread has a group.
        self._waiting: list[_Append] = []
        self._pending = 0
        self._busy = False
        self._closed = False
        self._handed_over: list[_Append] = []
        # Time and error of the last attempt to write, by loop or thread.
        self._attempted_at = time.monotonic()
        self._failure: str | None = None
        self._queue: SimpleQueue[list[_Append] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Number of uncommitted rows."""
        return self._pending

    async def append(
        self,
        rows: Sequence[PredictionRow],
        exposures: Sequence[Exposure] = (),
        *,
        scores: Sequence[ShadowScore] = (),
    ) -> None:
        """Write rows, without those whose id is in the journal already; return when they are committed.

        `exposures` are those of the rows in a split: they are in the same transaction. `scores` are those of a shadow,
        for earlier rows.

        If the caller is cancelled, the rows may still be written.

        Raises
        ------
        JournalError
            If the rows could not be written, or too many rows are waiting.
        """
        if self._closed:
            raise JournalError("the journal is closed: the service is stopping")
        size = len(rows) + len(scores)
        if self._pending + size > self._max_pending:
            raise JournalError(
                f"the journal is behind: {self._pending} rows wait, the limit is {self._max_pending}: try again later"
            )
        if not size:
            return
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        self._pending += size
        self._waiting.append(_Append(time.monotonic(), rows, exposures, scores, written, current()))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._hand_over)  # after the loop's present callbacks, which may append too
        timer = loop.call_later(self._timeout, _expire, written)
        try:
            await written
        finally:
            timer.cancel()

    def close(self) -> None:
        """Write the waiting rows, then stop. Closing twice changes nothing."""
        if not self._closed:
            self._closed = True
            self._inline = False  # only the loop may resolve futures, and this may be another thread
            while self._waiting:
                self._hand_over()
            self._queue.put(None)
        self._thread.join()
        self._disconnect()

    def _hand_over(self) -> None:
        """Commit the next group, or give it to the thread."""
        size = count = 0
        for append in self._waiting:
            size += append.size
            if count and size > MAX_GROUP_ROWS:
                break
            count += 1
        group = self._waiting[:count]
        self._waiting = self._waiting[count:]
        self._handed_over = group
        on_loop = self._inline and sum(append.size for append in group) <= LOOP_ROWS
        if on_loop and self._committed_on_loop(group):
            self._deliver(group, [None] * len(group))
        else:
            self._queue.put(group)

    def _committed_on_loop(self, group: list[_Append]) -> bool:
        """Commit a group on the loop without waiting for locks; return False to leave the group to the thread."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                self._connection.exec_driver_sql("PRAGMA busy_timeout=0")
                self._connection.exec_driver_sql("PRAGMA wal_autocheckpoint=0")
                self._connection.rollback()
            with shared_span(COMMIT, group, self._about):
                commit_directly(self._connection, partial(_insert, self._connection, group))
            self._note(None)
        except (OperationalError, sqlite3.OperationalError):  # another process is writing
            return False
        except Exception:  # the thread will find the append at fault
            self._disconnect()
            return False
        return True

    def _disconnect(self) -> None:
        """Close the loop's connection. It does not wait for locks, so the pool must not reuse it."""
        if self._connection is not None:
            connection = self._connection
            self._connection = None
            connection.invalidate()
            connection.close()

    def _run(self) -> None:
        while (group := self._queue.get()) is not None:
            errors = self._write(group)
            with suppress(RuntimeError):  # the loop is closed
                group[0].written.get_loop().call_soon_threadsafe(self._deliver, group, errors)

    def _write(self, group: list[_Append]) -> list[JournalError | None]:
        """Write a group and return each append's error. Raises nothing, because the thread must go on."""
        try:
            with shared_span(COMMIT, group, self._about):
                self._commit(group)
        except Exception as error:  # a value of a wrong type may raise anything
            if not isinstance(error, _WRONG_VALUE) and isinstance(error, SQLAlchemyError | JournalError):
                self._note(reason(error))
            if len(group) > 1 and _due_to_value(error):
                return [self._write([append])[0] for append in group]  # so that only the faulty append fails
            if (answers := [append for append in group if not append.scores]) and len(answers) < len(group):
                errors = iter(self._write(answers))  # what only a shadow needs costs no answer
                return [_failure(append, error) if append.scores else next(errors) for append in group]
            return [_failure(append, error) for append in group]  # one object per append: raising adds its traceback
        self._note(None)
        return [None] * len(group)

    def _note(self, failure: str | None) -> None:
        self._attempted_at = time.monotonic()
        self._failure = failure

    def check_waiting(self) -> None:
        """Check that no append has been waiting for long. Call it from the loop.

        Raises
        ------
        JournalError
            If an append has been waiting for `BLOCKED_SECONDS`.
        """
        oldest = next(iter(self._handed_over if self._busy else ()), None)
        if oldest is not None and time.monotonic() - oldest.at > BLOCKED_SECONDS:
            raise JournalError("writing to the journal is blocked")

    def check(self) -> None:
        """Check that the last write succeeded; write a test row if it failed or was long ago. Call it from a thread.

        Raises
        ------
        JournalError
            If predictions cannot be written now.
        """
        if time.monotonic() - self._attempted_at > (RETRY_SECONDS if self._failure else IDLE_SECONDS):
            try:
                write_nothing(self._engine)
                self._note(None)
            except Exception as error:
                self._note(reason(error))
        if self._failure is not None:
            raise JournalError(f"the journal cannot be written: {self._failure}")

    def _commit(self, group: list[_Append]) -> None:
        try:
            self._commit_once(group)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # The server may have restarted. Repeating is safe, because rows that are already there are skipped.
            self._commit_once(group)

    def _commit_once(self, group: list[_Append]) -> None:
        with self._engine.begin() as connection:
            _insert(connection, group)

    def _deliver(self, group: list[_Append], errors: list[JournalError | None]) -> None:
        self._busy = bool(self._waiting)
        for append, error in zip(group, errors, strict=True):
            self._pending -= append.size
            if append.written.done():  # cancelled
                continue
            if error is None:
                append.written.set_result(None)
            else:
                append.written.set_exception(error)
        if self._busy:
            self._hand_over()


_WRONG_VALUE = (DataError, IntegrityError, InterfaceError)


def _failure(append: _Append, error: Exception) -> JournalError:
    what = "the shadow's scores" if append.scores else "the prediction"
    return JournalError(f"{what} could not be written to the journal: {reason(error)}")


def _insert(connection: Connection, group: Sequence[_Append]) -> None:
    """Insert the rows of a group in the caller's transaction."""
    rows = [row for append in group for row in append.rows]
    insert_predictions(connection, rows, [one for append in group for one in append.exposures])
    insert_scores(connection, [one for append in group for one in append.scores])


def _expire(written: asyncio.Future[None]) -> None:
    if not written.done():
        written.set_exception(JournalError("the commit to the journal took too long"))


def _due_to_value(error: Exception) -> bool:
    """Return whether a value, and not the database, caused the error."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    return isinstance(error, (*_WRONG_VALUE, ProgrammingError)) or not isinstance(error, SQLAlchemyError | JournalError)
