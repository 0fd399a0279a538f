"""Paths of tables that commands write (targets): a bad path is refused before any work is done."""

from collections.abc import Iterable
from pathlib import Path

from churnops.errors import DataError

WRITTEN = (".csv", ".parquet")
"""Endings of the names of files that are written."""


def check_target(target: Path) -> None:
    """Refuse a path with an ending other than .csv and .parquet, or in a folder that does not exist."""
    if target.suffix.lower() not in WRITTEN:
        raise DataError(f"{target}: the name must end in .csv or .parquet")
    if not target.parent.is_dir():
        raise DataError(f"{target.parent} is not a folder: make it first")


def check_free(target: Path, sources: Iterable[Path], overwrite: bool) -> None:
    """Refuse an existing file, unless `overwrite` is given and the file is none of the sources."""
    if target.exists() and (not overwrite or not target.is_file() or any(map(target.samefile, sources))):
        raise DataError(
            f"{target} exists already: name another file, or give --force to replace it (the input is never replaced)"
        )
