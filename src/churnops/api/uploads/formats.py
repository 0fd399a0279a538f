"""Form of an upload: the media types, and how a file of any of them is read and answered."""

from collections.abc import Generator
from typing import NamedTuple, Protocol

from churnops.api.problems import Problem
from churnops.api.work import Steps
from churnops.journal.predictions import PredictionRow
from churnops.schema import Columns

UPLOADS = {"text/csv": "csv", "application/x-ndjson": "ndjson", "application/vnd.apache.parquet": "parquet"}


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


def too_many(limit: int) -> Problem:
    """Return the refusal of a file with more than `limit` customers."""
    return Problem(413, "too-many", f"the file has more than {limit} customers: send several")
