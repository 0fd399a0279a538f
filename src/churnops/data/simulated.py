"""Recognize files of simulated customers: by the column that marks them, or by the hash of the whole file."""

import hashlib
import re
from pathlib import Path

from churnops.data.batches import headers_of
from churnops.errors import DataError
from churnops.schema import is_marked


def has_mark(path: Path) -> bool:
    """Whether a CSV, Parquet or Excel file has the column that marks simulated customers; False if it is unreadable."""
    try:
        headers = headers_of(path)
    except DataError:
        return False  # reading the rows raises the error
    # Without the Schema the separator may be wrong, and one header may contain several names.
    return is_marked(part for header in headers for part in re.split(r"[,;\t|]", header))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a whole file.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
