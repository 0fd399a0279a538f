"""Manifest of a result in parts: a part is finished when its record exists, and each record is created once.

A task may run twice, on two machines, or again after it was killed. Both write the part's rows under a name with the
hash of their bytes; the record, which names this file, is created by the first one only. Files that no record names are
never published.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Manifest:
    """The finished parts of a result.

    Attributes
    ----------
    folder
        Folder of the parts' files, which several machines may share. The folder `records` in it has their records.
    """

    folder: Path

    def new_file(self, ending: str) -> Path:
        """Return a free path for the rows of a part, for `commit`."""
        return self.folder / f".{secrets.token_hex(8)}{ending}"

    def commit(self, written: Path, part: PartRecord) -> PartRecord:
        """Record a part as finished; return the record that counts, which may be that of another process.

        `written` is the part's file, on disk already. It gets its final name, which `part` need not have. The folders
        are not flushed: a failure of power costs the last seconds, because file systems keep the order of names.
        """
        sha256 = file_sha256(written)
        part = replace(part, data=f"part-{part.number:06d}.{sha256[:16]}{written.suffix}", sha256=sha256)
        written.replace(self.folder / part.data)
        record, unlinked = self._records / f"part-{part.number:06d}.json", self._records / f".{secrets.token_hex(8)}"
        write_flushed(unlinked, json.dumps(asdict(part), sort_keys=True).encode())
        try:
            os.link(unlinked, record)
        except FileExistsError:
            return _read(record)
        except OSError:  # no hard links, as on exFAT: of two records, which are equal, the second one counts
            unlinked.replace(record)
        finally:
            unlinked.unlink(missing_ok=True)
        return part

    def finished(self) -> dict[int, PartRecord]:
        """Return the records of all finished parts by number, ascending."""
        records = map(_read, self._records.glob("part-*.json"))
        return {record.number: record for record in sorted(records, key=lambda record: record.number)}

    @property
    def _records(self) -> Path:
        return self.folder / RECORDS


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


def _read(record: Path) -> PartRecord:
    return PartRecord(**json.loads(record.read_bytes()))
