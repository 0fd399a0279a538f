"""Manifest of a result in parts: a part is finished when its record exists, and each record is created once.

A task may run twice, on two machines, or again after it was killed. Both write the part's rows under a name with the
hash of their bytes; the record, which names this file, is created by the first one only. Files that no record names are
never published.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from churnops.files import fsync_folder

MANIFEST = "manifest.json"
"""Name of the manifest in a finished result."""


class Records(Protocol):
    """Small documents, each written once: a folder, or objects in a store with conditional writes."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a document whole, unless it exists; return whether this call has written it."""

    def names(self) -> list[str]:
        """Return the names of all documents."""

    def read(self, name: str) -> bytes:
        """Return a document."""


@dataclass(frozen=True)
class FolderRecords:
    """Records as files of a folder, which several machines may share."""

    folder: Path

    def create(self, name: str, data: bytes) -> bool:
        """Write a file under another name, flush it, and link it to its name, which fails if the name exists."""
        unfinished = self.folder / f".{secrets.token_hex(8)}"
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(unfinished, self.folder / name)
        except FileExistsError:
            return False
        finally:
            unfinished.unlink(missing_ok=True)
        fsync_folder(self.folder)
        return True

    def names(self) -> list[str]:
        """Return the names of all finished files."""
        return [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        return (self.folder / name).read_bytes()


@dataclass(frozen=True)
class PartRecord:
    """A finished part of a result.

    Attributes
    ----------
    number
        Position in the result.
    data
        Name of the file with the part's rows.
    source
        File of the input.
    first_row
        Number of the rows above the part in this file.
    unexpected
        Cells that training did not have, see `UnexpectedCells.to_json`.
    """

    number: int
    data: str
    sha256: str
    source: str
    first_row: int
    rows: int
    churners: int
    unexpected: Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """The finished parts of a result."""

    records: Records

    def commit(self, part: PartRecord) -> PartRecord:
        """Record a part as finished; return the record that counts, which may be that of another process."""
        name = _name(part.number)
        document = json.dumps(asdict(part), sort_keys=True).encode()
        return part if self.records.create(name, document) else self._read(name)

    def finished(self) -> dict[int, PartRecord]:
        """Return the records of all finished parts by number."""
        parts = [self._read(name) for name in sorted(self.records.names())]
        return {part.number: part for part in parts}

    def _read(self, name: str) -> PartRecord:
        return PartRecord(**json.loads(self.records.read(name)))


def _name(number: int) -> str:
    return f"part-{number:06d}.json"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
