"""Media types of uploads, and the interface of their formats."""

from collections.abc import Generator
from typing import NamedTuple, Protocol

from churnops.api.problems import Problem
from churnops.api.work import Steps
from churnops.journal.predictions import PredictionRow
from churnops.schema import Columns

UPLOADS = {"text/csv": "csv", "application/x-ndjson": "ndjson", "application/vnd.apache.parquet": "parquet"}


class Piece(NamedTuple):
    """Piece of an answer: its bytes, the rows to record before they are sent, and the encoded columns."""

    content: bytes
    rows: list[PredictionRow]
    columns: Columns


class Upload(Protocol):
    """A file of customers of one format."""

    def check(self) -> Steps[None]:
        """Check the whole file in steps; a Problem names the invalid row."""

    def scored(self) -> Generator[Piece, None, None]:
        """Yield the answer piece by piece."""


def too_many(limit: int) -> Problem:
    """Return the refusal of a file with more than `limit` customers."""
    return Problem(413, "too-many", f"the file has more than {limit} customers: send several files")
