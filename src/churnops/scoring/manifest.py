"""Manifest of a result in parts: a part is finished when its record exists, and each record is created once.

A task may run twice, on two machines, or again after it was killed. Both write the part's rows under a name with the
hash of their bytes; the record, which names this file, is created by the first one only. Files that no record names are
never published.
"""

import hashlib
import json
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from churnops.data.unexpected_cells import UnexpectedCells
from churnops.files import write_flushed

RECORDS = "records"
MANIFEST = "manifest.json"
"""Name of the manifest in a finished result."""


@dataclass(frozen=True)
class PartRecord:
    """A finished part of a result.

    Attributes
    ----------
    number
        Position in the result.
    source
        File of the input; empty if the input is no folder.
    first_row
        Number of the rows above the part in this file.
    unexpected
        Cells that training did not have, see `UnexpectedCells.to_json`.
    data
        Name of the file with the part's rows.
    """

    number: int
    source: str
    first_row: int
    rows: int
    churners: int
    unexpected: Mapping[str, Any]
    data: str = ""
    sha256: str = ""


class Manifest(ABC):
    """The finished parts of a result. A task gets it as an argument, so it is picklable."""

    @abstractmethod
    def new_file(self, ending: str) -> AbstractContextManager[Path]:
        """Yield a free path for the rows of a part, for `commit`."""

    def commit(self, written: Path, part: PartRecord) -> PartRecord:
        """Record a part as finished; return the record that counts, which may be that of another process.

        `written` is the part's file, on disk already. It gets its final name, which `part` need not have.
        """
        sha256 = file_sha256(written)
        part = replace(part, data=f"part-{part.number:06d}.{sha256[:16]}{written.suffix}", sha256=sha256)
        self._add(written, part.data)
        record = json.dumps(asdict(part), sort_keys=True).encode()
        return _parse(self._record_once(f"{RECORDS}/part-{part.number:06d}.json", record))

    def finished(self) -> dict[int, PartRecord]:
        """Return the records of all finished parts by number, ascending."""
        records = map(_parse, self._records())
        return {record.number: record for record in sorted(records, key=lambda record: record.number)}

    @abstractmethod
    def _add(self, written: Path, name: str) -> None:
        """Give a file its name among the parts."""

    @abstractmethod
    def _record_once(self, name: str, record: bytes) -> bytes:
        """Create a record; return the one that exists, if there is one."""

    @abstractmethod
    def _records(self) -> Iterable[bytes]:
        """Return all records."""


@dataclass(frozen=True)
class FolderManifest(Manifest):
    """Parts in a folder, which several machines may share.

    The folders are not flushed: a failure of power costs the last seconds, because file systems keep the order of
    names.

    Attributes
    ----------
    folder
        Folder of the parts' files. The folder `records` in it has their records.
    """

    folder: Path

    @contextmanager
    def new_file(self, ending: str) -> Iterator[Path]:
        """Yield a free path in the folder."""
        yield self.folder / f".{secrets.token_hex(8)}{ending}"

    def _add(self, written: Path, name: str) -> None:
        written.replace(self.folder / name)

    def _record_once(self, name: str, record: bytes) -> bytes:
        path, unlinked = self.folder / name, self.folder / RECORDS / f".{secrets.token_hex(8)}"
        write_flushed(unlinked, record)
        try:
            os.link(unlinked, path)
        except FileExistsError:
            return path.read_bytes()
        except OSError:  # no hard links, as on exFAT: of two records, which are equal, the second one counts
            unlinked.replace(path)
        finally:
            unlinked.unlink(missing_ok=True)
        return record

    def _records(self) -> Iterator[bytes]:
        return (path.read_bytes() for path in (self.folder / RECORDS).glob("part-*.json"))


def unexpected_cells(records: Sequence[PartRecord]) -> UnexpectedCells:
    """Return the unexpected cells of all parts, each with the file of its first row."""
    cells = UnexpectedCells()
    for record in records:
        if record.unexpected:
            cells = cells.merge(UnexpectedCells.read(record.unexpected).in_file(record.source))
    return replace(cells, rows=sum(record.rows for record in records))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(record: bytes) -> PartRecord:
    return PartRecord(**json.loads(record))
