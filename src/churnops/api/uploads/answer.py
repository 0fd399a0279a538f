"""Uploads: stored in a temporary file, checked as a whole, then scored and streamed back batch by batch."""

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from fastapi import Request, Response

from churnops.api.body import receive_body
from churnops.api.live import LiveDrift
from churnops.api.predictions import Recorder, of_model
from churnops.api.problems import Problem
from churnops.api.released import REPLACED, Released
from churnops.api.served import Served
from churnops.api.split import SplitAnswers
from churnops.api.uploads.formats import UPLOADS, Upload
from churnops.api.uploads.ndjson import NdjsonUpload
from churnops.api.work import Room, Work, close
from churnops.data.accepted import Accepted
from churnops.errors import DataError
from churnops.files import temporary_file
from churnops.settings import ApiSettings

log = logging.getLogger("churnops.api")

SUFFIX = {kind: media_type for media_type, kind in UPLOADS.items()}
RECORDED_ROWS = 1000  # limit of one transaction, because other answers wait for its end
AT_ONCE = 4  # limit of the uploads in progress in one worker
UPLOAD_TIMES = 10  # time limit of an upload, and of sending one piece, as a multiple of that of a JSON body


class Uploads:
    """Answers a few uploads at once; their computations take turns batch by batch."""

    def __init__(
        self,
        recorder: Recorder,
        split: SplitAnswers,
        limits: ApiSettings,
        work: Work,
        live: LiveDrift | None,
        *,
        safe_csv: bool,
    ) -> None:
        self._recorder = recorder
        self._split = split
        self._safe_csv = safe_csv
        self._live = live
        self._limits = limits
        self._work = work
        self._places = Room(AT_ONCE, f"{AT_ONCE} uploads are in progress, which is the limit: try again later")

    async def answer(self, request: Request, kind: str, served: Served, *, warnings: bool) -> Response:
        """Return the streamed answer to a file of customers.

        Parameters
        ----------
        warnings
            Whether the answer to a table has a column of warnings.

        Raises
        ------
        Problem
            If the file is too large or slow, or a row does not fit the Schema.
        """
        key = request.scope["state"]["client"].key
        accepted = accepted_gaps(request, served)
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
            upload = await self._work.step(self._open, kind, path, served, key, accepted, warnings)
            await self._work.upload(request.receive, upload.check())
        except BaseException:
            self._release(file)
            raise
        headers = {REPLACED: ", ".join(upload.replaced)} if upload.replaced else {}
        return Released(self._stream(upload, served), lambda: self._release(file), SUFFIX[kind], seconds, headers)

    def _open(
        self, kind: str, path: Path, served: Served, key: str | None, accepted: Accepted, warnings: bool
    ) -> Upload:
        if kind == "ndjson":
            return NdjsonUpload(path, served, self._split, self._limits.max_upload_rows, key, accepted)
        from churnops.api.uploads.tables import CsvPieces, ParquetPieces, TableUpload  # cost memory and start-up

        writer = CsvPieces(safe=self._safe_csv) if kind == "csv" else ParquetPieces()
        return TableUpload(path, served, self._split, writer, self._limits, key, accepted, warnings=warnings)

    async def _stream(self, upload: Upload, served: Served) -> AsyncIterator[bytes]:
        pieces = upload.scored()
        try:
            while (piece := await self._work.step(next, pieces, None)) is not None:
                for start in range(0, len(piece.rows), RECORDED_ROWS):
                    await self._recorder.record(piece.rows[start : start + RECORDED_ROWS])
                self._recorder.count_unknown(piece.unknown)
                if piece.rows and self._live is not None:
                    own = of_model(served, piece.rows)
                    self._live.add(served, piece.columns, [piece.rows[place].churn_probability for place in own])
                yield piece.content
        finally:
            close(pieces)

    def _release(self, file: IO[bytes]) -> None:
        self._places.leave()
        with suppress(OSError):  # closing tries again to write bytes for which the disk had no space
            file.close()


def accepted_gaps(request: Request, served: Served) -> Accepted:
    """Read the parameters `accept_unknown` and `accept_missing` of a request.

    Raises
    ------
    Problem
        422 if a value is not valid.
    """
    given = request.query_params
    unknown = given.getlist("accept_unknown")
    if not set(unknown) <= {"true", "false"}:
        raise Problem(422, "validation", "the parameter accept_unknown must be true or false")
    try:
        return Accepted.of(served.bundle.schema, unknown="true" in unknown, missing=given.getlist("accept_missing"))
    except DataError as error:
        raise Problem(422, "validation", f"accept_missing: {error}") from None


def _no_space(error: OSError) -> Problem:
    log.error("an upload cannot be kept: %s", error.strerror or error)
    return Problem(503, "storage", "the file cannot be stored temporarily", headers={"Retry-After": "30"})
