"""Results that are written in parts: a killed process leaves its parts, and the next one continues.

The parts are in a folder beside the result. A part's name contains its counts, so one rename publishes the part and
its counts together. The folder is removed when the result is complete, or if it contains no parts.
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
ROW_GROUP = 50_000  # larger groups need more memory
_PART = re.compile(r"part-(\d{6,})-(\d+)-(\d+)")
_WHOLE = re.compile(r"whole-(\d+)-(\d+)")


@dataclass(frozen=True)
class FinishedPart:
    """A file of finished rows, their number, and the number of predicted churners."""

    path: Path
    rows: int
    churners: int


def unfinished_folder(target: Path) -> Path:
    """Return the folder of parts of an unfinished `target`."""
    return target.with_name(f".{target.name}.unfinished")


@contextmanager
def unfinished_result(target: Path) -> Iterator["Unfinished"]:
    """Lock the folder of parts of `target` against other processes.

    Raises
    ------
    DataError
        If another process is writing `target`.
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
    """The parts of one result. Not thread-safe.

    Parameters
    ----------
    folder
        Folder of the parts; the caller holds its lock.
    target
        Path of the result; its ending decides between CSV and Parquet.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder = folder
        self.target = target
        self.parts: list[FinishedPart] = []
        self.notes: list[Mapping[str, Any]] = []
        self.whole: FinishedPart | None = None

    def resume(self, identity: Mapping[str, Any]) -> bool:
        """Keep the parts of an earlier run with this identity; return whether parts of another run were discarded.

        Parameters
        ----------
        identity
            Everything that decides the result, as JSON types.
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
            if match := _WHOLE.fullmatch(file.name):
                self.whole = FinishedPart(file, int(match[1]), int(match[2]))
        parts = {int(match[1]): (file, match) for file in files if (match := _PART.fullmatch(file.name))}
        while len(self.parts) in parts:  # parts after a missing one are written again
            file, match = parts[len(self.parts)]
            note = self._note(len(self.parts))
            self.notes += [json.loads(note.read_bytes())] if note.exists() else []
            self.parts.append(FinishedPart(file, int(match[2]), int(match[3])))
        return False

    @property
    def rows(self) -> int:
        """Number of finished rows."""
        return self.whole.rows if self.whole else sum(part.rows for part in self.parts)

    @property
    def churners(self) -> int:
        """Number of finished rows that are predicted to churn."""
        return self.whole.churners if self.whole else sum(part.churners for part in self.parts)

    def _note(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.json"

    def add(self, data: bytes | memoryview, rows: int, churners: int, note: Mapping[str, Any]) -> None:
        """Save the next part on disk; a process killed after this call does not lose it.

        `note` is kept beside the part, unless it is empty, and is in `notes` of the process that continues.
        """
        if note:
            write_flushed(self._note(len(self.parts)), json.dumps(note).encode())
        path = self.folder / f"part-{len(self.parts):06d}-{rows}-{churners}"
        write_flushed(path, data)
        self.parts.append(FinishedPart(path, rows, churners))

    def discard(self) -> None:
        """Delete all parts, including those after a missing one."""
        for path in self.folder.glob("part-*"):
            path.unlink()
        self.parts = []

    def finish(self) -> None:
        """Join the parts, and give the result its name.

        At every moment the folder contains either all parts or the whole result, so a killed process loses nothing.
        """
        if not self.whole:
            path = self.folder / f"whole-{self.rows}-{self.churners}"
            joined = self.folder / ".joined"
            self._join(joined)
            joined.replace(path)
            self.whole = FinishedPart(path, self.rows, self.churners)
        fsync_folder(self.folder)
        self.discard()
        self.whole.path.replace(self.target)
        fsync_folder(self.target.parent)

    def _join(self, path: Path) -> None:
        """Write all parts to one file; it is on disk when this returns."""
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
