"""Files of customers: kept in a temporary file, checked as a whole, then scored and streamed back batch by batch."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from churnops.api.body import receive_body
from churnops.api.live import LiveDrift, given_columns
from churnops.api.predictions import Recorder, answer
from churnops.api.problems import Problem
from churnops.api.served import Served
from churnops.api.strict_json import parse_json
from churnops.api.work import Room, Steps, Work, close
from churnops.files import temporary_file
from churnops.journal.predictions import PredictionRow
from churnops.schema import Columns
from churnops.settings import ApiSettings

log = logging.getLogger("churnops.api")

UPLOADS = {"text/csv": "csv", "application/x-ndjson": "ndjson", "application/vnd.apache.parquet": "parquet"}
SUFFIX = {kind: media_type for media_type, kind in UPLOADS.items()}
MAX_LINE_BYTES = 64 * 1024
LINES = 1000  # customers scored at once
LINES_BYTES = 4 * 2**20  # fewer, if their lines are long
MAX_READ = 50_000  # lines looked at for them
RECORDED_ROWS = 1000  # of them in a transaction, which other answers wait for
AT_ONCE = 4  # uploads a worker holds
UPLOAD_TIMES = 10  # a file may take so many times as long to arrive as a JSON body, and so may a piece to be sent


class Piece(NamedTuple):
    """A piece of an answer: what is sent back, the rows to be recorded before it is, and their encoded columns."""

    content: bytes
    rows: list[PredictionRow]
    columns: Columns


class Upload(Protocol):
    """A file of customers of one format."""

    def check(self) -> Steps[None]:
        """Read everything in steps; raise a Problem that names the row where a rule is broken."""

    def scored(self) -> Generator[Piece, None, None]:
        """Yield the answer piece by piece."""


class Uploads:
    """Answers uploads; holds few at once, which take turns at computing, batch by batch."""

    def __init__(self, recorder: Recorder, limits: ApiSettings, work: Work, live: LiveDrift | None) -> None:
        self._recorder = recorder
        self._live = live
        self._limits = limits
        self._work = work
        self._places = Room(AT_ONCE, f"{AT_ONCE} uploads are being answered")

    async def answer(self, request: Request, kind: str, served: Served) -> Response:
        """Return the streamed answer to a file of customers.

        Raises
        ------
        Problem
            If the file is too large or slow, or a row breaks the Schema; nothing is answered then.
        """
        seconds = self._limits.timeout_seconds * UPLOAD_TIMES
        self._places.take()
        try:
            file, path = temporary_file(f".{kind}")
        except OSError as error:
            self._places.leave()
            raise _no_space(error) from None
        try:
            try:
                await receive_body(request.scope, request.receive, self._limits.max_upload_bytes, seconds, file.write)
                file.flush()
            except OSError as error:
                raise _no_space(error) from None
            upload = await self._work.step(_open, kind, path, served, self._limits)
            await self._work.upload(request.receive, upload.check())
        except BaseException:
            self._release(file)
            raise
        key = request.scope["state"]["client"].key
        return Released(self._stream(upload, served, key), lambda: self._release(file), SUFFIX[kind], seconds)

    async def _stream(self, upload: Upload, served: Served, key: str | None) -> AsyncIterator[bytes]:
        pieces = upload.scored()
        try:
            while (piece := await self._work.step(next, pieces, None)) is not None:
                for start in range(0, len(piece.rows), RECORDED_ROWS):
                    await self._recorder.record(piece.rows[start : start + RECORDED_ROWS], key)
                if piece.rows and self._live is not None:
                    self._live.add(served, piece.columns, [row.churn_probability for row in piece.rows])
                yield piece.content
        finally:
            close(pieces)

    def _release(self, file: IO[bytes]) -> None:
        self._places.leave()
        with suppress(OSError):  # what the disk had no space for is written again, in vain
            file.close()


class Released(StreamingResponse):
    """A streamed answer that calls `release` at its end, also when the client left before it began, or reads no more.

    A piece that is not sent within `seconds` ends it; the answer is cut off then.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        release: Callable[[], None],
        media_type: str,
        seconds: float,
        length: int | None = None,
    ) -> None:
        headers = None if length is None else {"content-length": str(length)}
        super().__init__(content, media_type=media_type, headers=headers)
        self._release = release
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._seconds):
                    await send(message)
            except TimeoutError:
                raise Problem(408, "slow", f"the answer was not read within {self._seconds:g} seconds") from None

        try:
            await super().__call__(scope, receive, send_in_time)
        finally:
            self._release()


class NdjsonUpload:
    """One JSON object a line; the answer has one line a customer, as `/predict` answers."""

    def __init__(self, path: Path, served: Served, most: int) -> None:
        self._path = path
        self._served = served
        self._most = most

    def check(self) -> Steps[None]:
        """See `Upload`."""
        customers = 0
        for records in self._records():
            customers += len(records)
            yield
        if not customers:
            raise Problem(422, "validation", "the file holds no customers")

    def scored(self) -> Generator[Piece, None, None]:
        """See `Upload`."""
        for records in self._records():
            if not records:
                yield Piece(b"", [], {})
                continue
            answers, rows = answer(self._served, records)
            content = "".join(json.dumps(item) + "\n" for item in answers).encode()
            yield Piece(content, rows, given_columns(self._served, records))

    def _records(self) -> Iterator[list[Any]]:
        with self._path.open("rb") as file:
            row = 1
            for lines in self._lines(file):
                if row + len(lines) - 1 > self._most:
                    raise too_many(self._most)
                yield self._served.form.read_all(map(self._parse, lines, count(row)), first_row=row)
                row += len(lines)

    def _lines(self, file: IO[bytes]) -> Iterator[list[bytes]]:
        """Yield some lines at a time, none if many are blank: those are left out, and may be as many as the customers.

        A line of more than `MAX_LINE_BYTES` ends there, and is refused when parsed.
        """
        lines: list[bytes] = []
        size = read = blank = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            read += 1
            size += len(line)
            if line.strip():
                lines.append(line)
            else:
                blank += 1
            if len(lines) == LINES or size > LINES_BYTES or read == MAX_READ:
                if blank > self._most:
                    raise Problem(413, "too-many", f"the file has more than {self._most} blank lines")
                yield lines
                lines = []
                size = read = 0
        yield lines

    def _parse(self, line: bytes, row: int) -> Any:
        if len(line) > MAX_LINE_BYTES:
            raise Problem(413, "too-large", f"row {row}: a line is larger than {MAX_LINE_BYTES} bytes")
        try:
            return parse_json(line, self._served.form.max_values)
        except Problem as problem:
            raise problem.in_row(row) from None


def _no_space(error: OSError) -> Problem:
    log.error("an upload cannot be kept: %s", error.strerror or error)
    return Problem(503, "storage", "the file cannot be kept while it is answered", headers={"Retry-After": "30"})


def too_many(most: int) -> Problem:
    """Return the refusal of a file with more than `most` customers."""
    return Problem(413, "too-many", f"the file has more than {most} customers: send several")


def _open(kind: str, path: Path, served: Served, limits: ApiSettings) -> Upload:
    most = limits.max_upload_rows
    if kind == "ndjson":
        return NdjsonUpload(path, served, most)
    from churnops.api.tables import TableUpload

    return TableUpload(path, served, "csv" if kind == "csv" else "parquet", most, limits.max_upload_bytes)
