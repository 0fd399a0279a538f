"""Task that scores one part of a data set, writes its rows, and commits them."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from churnops.data.dataset import Part
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.files import fsync_folder
from churnops.model.sent import SentBundle
from churnops.scoring.csv_answer import csv_of
from churnops.scoring.file import others_read
from churnops.scoring.manifest import FolderRecords, Manifest, PartRecord, file_sha256
from churnops.scoring.table import ScoredTable, score_table
from churnops.scoring.unfinished import ROW_GROUP

RECORDS = "records"
"""Folder of the parts' records, in the folder of their files."""


@dataclass(frozen=True)
class PartScorer:
    """Function from a part to its record; it gives the same bytes in every process.

    Attributes
    ----------
    folder
        Folder of the parts' files and of their records.
    rows
        Rows that are scored at once.
    may_lack
        Inputs that the files may lack.
    """

    bundle: SentBundle
    folder: Path
    explain: bool
    safe_csv: bool
    rows: int
    may_lack: tuple[str, ...]

    def score(self, part: Part) -> PartRecord:
        """Score a part in batches, so that memory does not depend on its size."""
        ending = part.file.path.suffix.lower()
        unfinished = self.folder / f".{secrets.token_hex(8)}"
        rows = churners = 0
        cells = UnexpectedCells()
        try:
            with _writer(unfinished, ending, safe_csv=self.safe_csv) as write:
                for scored in self._scored(part):
                    write(scored.table)
                    rows += scored.table.height
                    churners += int(scored.prediction.churn.sum())
                    cells = cells.merge(scored.unexpected)
            sha256 = file_sha256(unfinished)
            data = f"part-{part.number:06d}.{sha256[:16]}{ending}"
            unfinished.replace(self.folder / data)
        finally:
            unfinished.unlink(missing_ok=True)
        fsync_folder(self.folder)
        document = cells.to_json()
        record = PartRecord(part.number, data, sha256, part.file.name, part.first_row, rows, churners, document)
        return Manifest(FolderRecords(self.folder / RECORDS)).commit(record)

    def _scored(self, part: Part) -> Iterator[ScoredTable]:
        bundle, others = self.bundle.load(), others_read(part.file.path.suffix)
        for batch in part.batches(self.rows, bundle.schema, others):
            yield score_table(
                batch.table,
                bundle,
                part.file.name,
                explain=self.explain,
                first_row=batch.first_row,
                may_lack=self.may_lack,
                may_have_gaps=True,
            )


def score_part(scorer: PartScorer, part: Part) -> PartRecord:
    """Score and commit a part: the task."""
    return scorer.score(part)


@contextmanager
def _writer(path: Path, ending: str, *, safe_csv: bool) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that adds rows to a new file, which is on disk after the block."""
    with path.open("wb") as file:
        with _parquet(file) if ending == ".parquet" else _csv(file, safe=safe_csv) as write:
            yield write
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _csv(file: IO[bytes], *, safe: bool) -> Iterator[Callable[[pl.DataFrame], None]]:
    def write(table: pl.DataFrame) -> None:
        file.write(csv_of(table, header=file.tell() == 0, safe=safe))

    yield write


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that collects rows until they fill a row group."""
    import pyarrow.parquet as pq

    held: list[pl.DataFrame] = []
    writers: list[pq.ParquetWriter] = []

    def flush() -> None:
        table = pl.concat(held).to_arrow(compat_level=pl.CompatLevel.oldest())
        held.clear()
        if not writers:
            writers.append(pq.ParquetWriter(file, table.schema, compression="zstd"))
        writers[0].write_table(table, row_group_size=ROW_GROUP)

    def write(table: pl.DataFrame) -> None:
        held.append(table)
        if sum(map(len, held)) >= ROW_GROUP:
            flush()

    try:
        yield write
        if held:
            flush()
    finally:
        for each in writers:
            each.close()
