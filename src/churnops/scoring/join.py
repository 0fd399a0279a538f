"""Join the parts of a result to one file."""

import errno
import os
import shutil
from pathlib import Path

import polars as pl

ROW_GROUP = 50_000
"""Rows of a group in Parquet; larger groups need more memory."""


def join(parts: list[Path], path: Path) -> None:
    """Write all parts, which are CSV or Parquet as their names tell, to one file; it is on disk when this returns.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    if parts[0].suffix == ".parquet":
        try:
            pl.scan_parquet(parts, glob=False).sink_parquet(path, row_group_size=ROW_GROUP, engine="streaming")
        except pl.exceptions.PolarsError as error:
            raise OSError(errno.EIO, str(error).partition("\n")[0], str(path)) from None
    else:
        with path.open("wb") as file:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file, 2**20)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
