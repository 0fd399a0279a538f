"""Group commit: while one transaction is committed, the next one gathers."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    SQLAlchemyError,
)

from churnops.errors import JournalError
from churnops.journal.database import reason
from churnops.journal.predictions import PredictionRow, write_predictions

MAX_GROUP_ROWS = 1_000
"""A transaction gets no further append beyond this, so that the first one's wait stays short."""


class _Append(NamedTuple):
    rows: Sequence[PredictionRow]
    written: asyncio.Future[None]


class JournalWriter:
    """Writes predictions from one asyncio loop through one thread, which has the commits to itself.

    A commit that is flushed to disk takes milliseconds, whatever the number of rows in it, so everything that arrives
    meanwhile goes into the next one. The rows of one append are in one transaction. A database that fails, fails the
    appends of that time; when it answers again, so does the writer.

    Parameters
    ----------
    max_pending : int
        Rows that may wait. More are refused, since a queue that grows without end only delays the failure.
    """

    def __init__(self, engine: Engine, *, max_pending: int = 20_000) -> None:
        self._engine = engine
        self._max_pending = max_pending
        # Touched by the loop only: what waits, how many rows are not committed yet, and whether the thread has a group.
        self._waiting: list[_Append] = []
        self._pending = 0
        self._busy = False
        self._closed = False
        self._queue: SimpleQueue[list[_Append] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    async def append(self, rows: Sequence[PredictionRow]) -> None:
        """Write rows; return when they are committed. A row whose id is there already changes nothing.

        When the caller is cancelled, the rows may still be written.

        Raises
        ------
        JournalError
            If they could not be written, or too many rows are waiting.
        """
        if self._closed:
            raise JournalError("the journal is closed: the service is stopping")
        if self._pending + len(rows) > self._max_pending:
            raise JournalError(
                f"the journal is behind: {self._pending} rows wait, at most {self._max_pending} may: try again later"
            )
        if not rows:
            return
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        self._pending += len(rows)
        self._waiting.append(_Append(rows, written))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._hand_over)  # after what else the loop has to do now, which may append too
        await written

    def close(self) -> None:
        """Write what waits, then stop. Closing twice changes nothing."""
        if not self._closed:
            self._closed = True
            while self._waiting:
                self._hand_over()
            self._queue.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        """Give the thread what waits, as much as fits into a transaction."""
        size = count = 0
        for append in self._waiting:
            size += len(append.rows)
            if count and size > MAX_GROUP_ROWS:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._queue.put(group)

    def _run(self) -> None:
        while (group := self._queue.get()) is not None:
            errors = self._write(group)
            with suppress(RuntimeError, IndexError):  # the loop is closed: nobody waits
                group[0].written.get_loop().call_soon_threadsafe(self._deliver, group, errors)

    def _write(self, group: list[_Append]) -> list[JournalError | None]:
        """Write a group and return what went wrong for each append. Raises nothing: the thread must go on."""
        try:
            self._commit([row for append in group for row in append.rows])
        except Exception as error:  # a value of the wrong type raises what it likes
            if len(group) == 1 or not _by_a_value(error):
                line = f"the prediction could not be written to the journal: {reason(error)}"
                return [JournalError(line) for _ in group]  # one each: raising changes an exception
            return [self._write([append])[0] for append in group]  # one of them is bad: let it be the only one to fail
        return [None] * len(group)

    def _commit(self, rows: list[PredictionRow]) -> None:
        try:
            write_predictions(self._engine, rows)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # The server was restarted perhaps. Whether or not the commit got through, the ids make this safe.
            write_predictions(self._engine, rows)

    def _deliver(self, group: list[_Append], errors: list[JournalError | None]) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            self._hand_over()
        for append, error in zip(group, errors, strict=True):
            self._pending -= len(append.rows)
            if append.written.done():  # cancelled
                continue
            if error is None:
                append.written.set_result(None)
            else:
                append.written.set_exception(error)


def _by_a_value(error: Exception) -> bool:
    """Whether what was to be written is the reason, not the database."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    values = (DataError, IntegrityError, InterfaceError, ProgrammingError)
    return isinstance(error, values) or not isinstance(error, SQLAlchemyError)
