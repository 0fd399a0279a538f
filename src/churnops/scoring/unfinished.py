"""A result that is written in parts: kept when the process dies, continued by the next one, whole under its name.

The parts are in a folder beside the result. What a part holds is in its name, so a part and its figures come into
being at once, by renaming. The folder goes away when the result is complete, or when nothing in it is worth keeping.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churnops.errors import DataError
from churnops.files import fsync_folder, lock_folder, write_flushed

STATE = "state.json"
ROW_GROUP = 50_000  # larger groups take more memory to write
_PART = re.compile(r"part-(\d{6,})-(\d+)-(\d+)")
_WHOLE = re.compile(r"whole-(\d+)-(\d+)")


@dataclass(frozen=True)
class Part:
    """A file of finished rows: how many, and how many of them are predicted to churn."""

    path: Path
    rows: int
    churners: int


def unfinished_folder(target: Path) -> Path:
    """Return where the parts of `target` are while it is written."""
    return target.with_name(f".{target.name}.unfinished")


@contextmanager
def unfinished_result(target: Path) -> Iterator["Unfinished"]:
    """Hold the folder for `target`, which no other process can then do.

    Raises
    ------
    DataError
        If another process writes `target` at this moment.
    """
    folder = unfinished_folder(target)
    with lock_folder(folder) as held:
        if not held:
            raise DataError(f"{target} is being written by another run: wait for it, or name another file")
        try:
            yield Unfinished(folder, target)
        finally:
            if not any(_PART.fullmatch(path.name) or _WHOLE.fullmatch(path.name) for path in folder.iterdir()):
                shutil.rmtree(folder)


class Unfinished:
    """The parts of one result. Not safe to use from several threads at once.

    Parameters
    ----------
    folder
        Where the parts are; the caller holds its lock.
    target
        The result; its ending says whether parts are CSV or Parquet.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder = folder
        self.target = target
        self.parts: list[Part] = []
        self.whole: Part | None = None

    def resume(self, identity: Mapping[str, Any]) -> bool:
        """Keep what an earlier process finished of the same work; return whether something else was thrown away.

        Parameters
        ----------
        identity
            What decides the result, of JSON types: work with another identity is not continued.
        """
        path = self.folder / STATE
        files = list(self.folder.iterdir())
        state = json.dumps(identity, sort_keys=True).encode()
        if not path.exists() or path.read_bytes() != state:
            for file in files:
                file.unlink()
            write_flushed(path, state)
            return any(_PART.fullmatch(file.name) or _WHOLE.fullmatch(file.name) for file in files)
        for file in files:
            if found := _WHOLE.fullmatch(file.name):
                self.whole = Part(file, int(found[1]), int(found[2]))
        parts = {int(found[1]): (file, found) for file in files if (found := _PART.fullmatch(file.name))}
        while len(self.parts) in parts:  # a later part without those before it is of no use, and is written again
            file, found = parts[len(self.parts)]
            self.parts.append(Part(file, int(found[2]), int(found[3])))
        return False

    @property
    def rows(self) -> int:
        """Rows that are finished."""
        return self.whole.rows if self.whole else sum(part.rows for part in self.parts)

    @property
    def churners(self) -> int:
        """Finished rows that are predicted to churn."""
        return self.whole.churners if self.whole else sum(part.churners for part in self.parts)

    def add(self, data: bytes | memoryview, rows: int, churners: int) -> None:
        """Keep the next part, from here on whatever happens."""
        path = self.folder / f"part-{len(self.parts):06d}-{rows}-{churners}"
        write_flushed(path, data)
        self.parts.append(Part(path, rows, churners))

    def discard(self) -> None:
        """Throw the parts away, those also that could not be continued."""
        for path in self.folder.glob("part-*"):
            path.unlink()
        self.parts = []

    def finish(self) -> None:
        """Join the parts, and give the result its name.

        Whatever a killed process left is either enough to go on from (all parts, or the whole) or worth nothing.
        """
        if not self.whole:
            path = self.folder / f"whole-{self.rows}-{self.churners}"
            joined = self.folder / ".joined"
            self._join(joined)
            joined.replace(path)
            self.whole = Part(path, self.rows, self.churners)
        fsync_folder(self.folder)
        self.discard()
        self.whole.path.replace(self.target)
        fsync_folder(self.target.parent)

    def _join(self, path: Path) -> None:
        """Write all parts to one file, on disk when this returns."""
        paths = [part.path for part in self.parts]
        if self.target.suffix.lower() == ".parquet":
            try:
                pl.scan_parquet(paths).sink_parquet(path, row_group_size=ROW_GROUP, engine="streaming")
            except pl.exceptions.PolarsError as error:
                raise OSError(errno.EIO, str(error).partition("\n")[0], str(self.target)) from None
        else:
            with path.open("wb") as file:
                for part in paths:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, file, 2**20)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
