"""Media types of uploads, and the interface of their formats."""

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, Protocol

from churnops.api.body import FORMS, JSON, is_form
from churnops.api.problems import Problem
from churnops.api.work import Steps
from churnops.journal.predictions import PredictionRow
from churnops.schema import Columns

UPLOADS = {"text/csv": "csv", "application/x-ndjson": "ndjson", "application/vnd.apache.parquet": "parquet"}
OTHER_NAMES = {
    "csv": ("application/csv", "text/x-csv", "application/vnd.ms-excel"),  # browsers on Windows send the last
    "ndjson": ("application/ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines"),
    "parquet": ("application/parquet", "application/x-parquet"),
}
"""Other media types that clients send for a format."""
FORMATS = UPLOADS | {name: kind for kind, names in OTHER_NAMES.items() for name in names}
"""Format of each accepted media type."""


def wrong_media_type(kind: str) -> Problem:
    """Return the refusal of a body that is neither a JSON list nor a file of a known format."""
    files = ", ".join(UPLOADS)
    if is_form(kind):
        detail = (
            f"{FORMS}: send the file itself as the body, with one of the media types {files}, or a list with {JSON}"
        )
    else:
        detail = f"send a list with the header Content-Type: {JSON}, or a file with one of {files}"
    return Problem(415, "media-type", detail)


class Piece(NamedTuple):
    """Piece of an answer.

    `rows` are recorded before the bytes are sent. `columns` are encoded. `unknown` are numbers of unknown levels.
    """

    content: bytes
    rows: list[PredictionRow]
    columns: Columns
    unknown: Mapping[str, int]


class Upload(Protocol):
    """A file of customers of one format."""

    @property
    def replaced(self) -> Sequence[str]:
        """Columns of the file with names that the answer adds."""

    def check(self) -> Steps[None]:
        """Check the whole file in steps; a Problem names the invalid row."""

    def scored(self) -> Generator[Piece, None, None]:
        """Yield the answer piece by piece."""


def too_many(limit: int) -> Problem:
    """Return the refusal of a file with more than `limit` customers."""
    return Problem(413, "too-many", f"the file has more than {limit} customers: send several files")
