"""Task that scores one part of a data set, writes its rows, and commits them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO

import polars as pl

from churnops.data.dataset import Part
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.files import flushed_file
from churnops.model.sent import SentBundle
from churnops.scoring.arms import Arms
from churnops.scoring.challenged import score_by_arms
from churnops.scoring.csv_answer import csv_of
from churnops.scoring.file import others_read
from churnops.scoring.join import ROW_GROUP
from churnops.scoring.manifest import Manifest, PartRecord
from churnops.scoring.table import ScoredTable, rows_at_once


@dataclass(frozen=True)
class PartScorer:
    """Function from a part to its record; it gives the same bytes in every process.

    Attributes
    ----------
    manifest
        Finished parts, to which the part is added.
    rows
        Rows that are scored at once, see `rows_at_once`.
    may_lack
        Inputs that the files may lack.
    arms
        The running split; None if there is none.
    """

    bundle: SentBundle
    manifest: Manifest
    explain: bool
    safe_csv: bool
    rows: int
    may_lack: tuple[str, ...]
    arms: Arms | None

    def score(self, part: Part) -> PartRecord:
        """Score a part in batches, so that memory does not depend on its size."""
        ending = part.file.path.suffix.lower()
        rows = churners = 0
        cells = UnexpectedCells()
        with self.manifest.new_file(ending) as written:
            with flushed_file(written) as file, _writer(file, ending, safe_csv=self.safe_csv) as write:
                for scored in self._scored(part):
                    write(scored.table)
                    rows += scored.table.height
                    churners += int(scored.prediction.churn.sum())
                    cells = cells.merge(scored.unexpected)
            record = PartRecord(part.number, part.file.name, part.first_row, rows, churners, cells.to_json())
            return self.manifest.commit(written, record)

    def _scored(self, part: Part) -> Iterator[ScoredTable]:
        bundle, others = self.bundle.load(), others_read(part.file.path.suffix)
        for batch in part.batches(rows_at_once(self.rows, bundle), bundle.schema, others):
            yield score_by_arms(
                batch.table,
                bundle,
                self.arms,
                part.file.name,
                explain=self.explain,
                first_row=batch.first_row,
                may_lack=self.may_lack,
                may_have_gaps=True,
            )


def score_part(scorer: PartScorer, part: Part) -> PartRecord:
    """Score and commit a part: the task."""
    return scorer.score(part)


def _writer(file: IO[bytes], ending: str, *, safe_csv: bool) -> AbstractContextManager[Callable[[pl.DataFrame], None]]:
    """Return a block that yields a function that adds rows to a file."""
    return _parquet(file) if ending == ".parquet" else _csv(file, safe=safe_csv)


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
