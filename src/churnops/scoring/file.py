"""Score a file or a query with the deployed bundle: in batches, on several cores, and a file resumable."""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import polars as pl

from churnops import __version__
from churnops.data.accepted import Accepted
from churnops.data.batches import FileBatch, columns_left_out, read_batches, replaced_columns
from churnops.data.query import QUERY
from churnops.data.read import ENDINGS
from churnops.data.targets import check_free, check_target
from churnops.errors import DataError
from churnops.files import fsync_folder, usable_cores, write_flushed
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.schema import Schema
from churnops.scoring.arms import Arms
from churnops.scoring.challenged import score_by_arms
from churnops.scoring.csv_answer import csv_of
from churnops.scoring.join import join
from churnops.scoring.manifest import PartRecord, unexpected_cells
from churnops.scoring.table import check_expected, rows_at_once
from churnops.scoring.unfinished import Unfinished, unfinished_folder, unfinished_result
from churnops.traces import span

ROWS = 25_000  # of a batch: smaller batches take more time, larger ones more memory
MAX_WORKERS = 4  # each worker keeps a batch and its explanations in memory
EDGE = 2**20  # the input is identified by this many bytes at each end

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ScoredFile:
    """Numbers of scored rows, of predicted churners, and of rows that an earlier run had finished; and the model.

    `replaced` are the input's columns with names that scoring adds: they are not in the result.
    `unknown` has a sentence for each column with unknown levels, `empty` for each with unexpected empty cells.
    `decision_version` is that of the decision policy; 0 if nobody has set one.
    """

    rows: int
    churners: int
    model_version: str
    resumed_rows: int
    replaced: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    decision_version: int = 0

    @classmethod
    def of(cls, records: Sequence[PartRecord], bundle: Bundle, resumed_rows: int, replaced: tuple[str, ...]) -> Self:
        """Add up the finished parts."""
        cells = unexpected_cells(records)
        return cls(
            cells.rows,
            sum(record.churners for record in records),
            bundle.version_name,
            resumed_rows,
            replaced,
            tuple(cells.unknown_sentences(bundle.schema)),
            tuple(cells.empty_sentences(bundle.schema)),
            bundle.decision_version,
        )


@dataclass(frozen=True)
class _ScoredBatch:
    """Rows of a part, as bytes of the result's format; the share of the input that was read; and the part's record."""

    data: memoryview
    share: float
    record: PartRecord


@dataclass(frozen=True)
class FileScorer:
    """Scores files with the deployed bundle in constant memory. `rows` and `workers` do not change the result.

    Attributes
    ----------
    models
        Folder of deployed models; its link `production` points to the bundle.
    explain
        Whether to add the largest contributions to each score.
    safe_csv
        Whether a CSV has an apostrophe before texts that a spreadsheet reads as formulas.
    rows
        Rows of a batch, fewer if the model encodes them in many columns; each scored batch is saved as a part.
    workers
        Threads that score; None: one for each core, up to four.
    accept_unknown
        Whether a file with many unknown levels is scored.
    accept_missing
        Names or headers of columns that the file may lack, or that may be empty in many rows.
    decided
        Function that returns the deployed bundle under the decision policy in force.
    arms
        The running split; None if there is none.
    on_written
        Called with each whole result, a file or folder, and the deployed bundle, before the result gets its name; with
        a copy of each part of a result in an object store. A killed run is repeated, so this may happen again with the
        same result.
    """

    models: Path
    explain: bool = False
    safe_csv: bool = False
    rows: int = ROWS
    workers: int | None = None
    accept_unknown: bool = False
    accept_missing: tuple[str, ...] = ()
    decided: Callable[[Bundle], Bundle] = lambda bundle: bundle
    arms: Arms | None = None
    on_written: Callable[[Path, Bundle], object] | None = None

    @property
    def threads(self) -> int:
        """Number of threads that score."""
        return self.workers or min(usable_cores(), MAX_WORKERS)

    def score(
        self,
        source: Path,
        target: Path,
        *,
        overwrite: bool = False,
        on_rows: Callable[[int, float], None] = lambda done, share: None,
        on_message: Callable[[str], None] = lambda text: None,
    ) -> ScoredFile:
        """Write the customers in `source` and their scores to `target`, whole or not at all.

        A killed run leaves its finished parts in `.<target>.unfinished`; the same call continues from there. A query
        starts again, because its result may have changed.

        Parameters
        ----------
        on_rows
            Called after each part with the number of finished rows and their share of the input, in [0, 1].
        on_message
            Called with a sentence on columns that the result lacks, and on an earlier run.

        Raises
        ------
        ChurnopsError
            If there is no deployed model, a row breaks the Schema, or `target` exists or is neither CSV nor Parquet. A
            row that breaks the Schema discards the finished parts, because the input has to change.
        """
        if not source.is_file() or source.suffix.lower() not in (*ENDINGS, QUERY):
            problem = "is not a .csv, .parquet, .xlsx or .sql file" if source.exists() else "does not exist"
            raise DataError(f"{source} {problem}")
        check_target(target)
        if not unfinished_folder(target).exists():  # refuse before a folder is made
            check_free(target, [source], overwrite)
        bundle = self.deployed()
        accepted = Accepted.of(bundle.schema, unknown=self.accept_unknown, missing=self.accept_missing)
        contents = _contents(source)
        identity = self.identity(bundle, contents) if source.suffix.lower() != QUERY else None
        with unfinished_result(target, identity) as unfinished:
            check_free(target, [source], overwrite)  # another run may have finished meanwhile
            resumed = unfinished.report(on_message)
            others = others_read(target.suffix)
            replaced = notices([source], source.name, bundle.schema, others, on_message)
            with unfinished.keeping_parts():
                with span("score"):
                    records = self._score_parts(source, bundle, unfinished, accepted.missing, on_rows)
                if _contents(source) != contents:
                    raise DataError(f"{source} changed while it was read: type the command again")
                check_expected(unexpected_cells(records), bundle, source.name, accepted)
                with span("publish"):
                    join([unfinished.manifest.folder / record.data for record in records], unfinished.result)
                    if self.on_written:
                        self.on_written(unfinished.result, bundle)
                    unfinished.result.replace(target)
                    fsync_folder(target.parent)
        return ScoredFile.of(records, bundle, resumed, replaced)

    def deployed(self) -> Bundle:
        """Load the deployed model under the decision policy; raise `RegistryError` if there is none."""
        return self.decided(require_deployed(self.models))

    def identity(self, bundle: Bundle, contents: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that decides a result; `contents` identifies the input."""
        return {
            "churnops": __version__,
            "model": bundle.content_sha256,
            **({"decision": bundle.decision_version} if bundle.decision_version else {}),
            "explain": self.explain,
            "safe_csv": self.safe_csv,
            "rows": self.rows,
            **({"experiment": self.arms.experiment} if self.arms else {}),
            **contents,
        }

    def _score_parts(
        self,
        source: Path,
        bundle: Bundle,
        unfinished: Unfinished,
        may_lack: Collection[str],
        on_rows: Callable[[int, float], None],
    ) -> list[PartRecord]:
        """Score the batches after the finished parts, each as a part; return the records of all parts, in order."""
        manifest, ending = unfinished.manifest, unfinished.target.suffix.lower()
        records = [part for number, part in enumerate(manifest.finished().values()) if part.number == number]
        rows = sum(record.rows for record in records)
        others, at_once = others_read(ending), rows_at_once(self.rows, bundle)
        batches = read_batches(source, rows=at_once, schema=bundle.schema, others=others, skip=rows)
        score = partial(_score, bundle=bundle, name=source.name, ending=ending, scorer=self, may_lack=may_lack)
        on_rows(rows, 0.0)
        for scored in _in_order(score, enumerate(batches, start=len(records)), self.threads):
            with manifest.new_file(ending) as written:
                write_flushed(written, scored.data)
                records.append(manifest.commit(written, scored.record))
            rows += scored.record.rows
            on_rows(rows, scored.share)
        return records


def _contents(source: Path) -> dict[str, Any]:
    """Identify a file by its format, size, modification time, and both ends."""
    status = source.stat()
    digest = hashlib.sha256()
    with source.open("rb") as file:
        digest.update(file.read(EDGE))
        file.seek(max(status.st_size - EDGE, 0))
        digest.update(file.read(EDGE))
    return {
        "input": source.suffix.lower(),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "edges_sha256": digest.hexdigest(),
    }


def others_read(ending: str) -> Literal["flat", "all"]:
    """Return which columns outside the Schema a result with this ending can hold, see `data.batches.open_batches`."""
    return "all" if ending.lower() == ".parquet" else "flat"


def notices(
    sources: Sequence[Path],
    name: str,
    schema: Schema,
    others: Literal["flat", "all"],
    on_message: Callable[[str], None],
) -> tuple[str, ...]:
    """Name the columns of the input that the result lacks; return those that scoring replaces.

    `name` is that of the input, which is one or more files.
    """
    left_out = list(dict.fromkeys(column for source in sources for column in columns_left_out(source, schema, others)))
    if left_out:
        listed = ", ".join(map(repr, left_out[:5])) + (", …" if len(left_out) > 5 else "")
        on_message(f"the result lacks these columns, which are repeated or have an unsupported type: {listed}")
    replaced = tuple(dict.fromkeys(column for source in sources for column in replaced_columns(source, schema)))
    if replaced:
        on_message(
            f"scoring adds columns of these names, so those of {name} are replaced or left out: {', '.join(replaced)}"
        )
    if schema.personal:
        on_message(f"the result lacks the personal columns {', '.join(sorted(schema.personal))}")
    return replaced


def _score(
    numbered: tuple[int, FileBatch],
    *,
    bundle: Bundle,
    name: str,
    ending: str,
    scorer: FileScorer,
    may_lack: Collection[str],
) -> _ScoredBatch:
    """Score one batch and return it as a part; the first part of a CSV has the header."""
    number, batch = numbered
    scored = score_by_arms(
        batch.table,
        bundle,
        scorer.arms,
        name,
        explain=scorer.explain,
        first_row=batch.first_row,
        may_lack=may_lack,
        may_have_gaps=True,
    )
    try:
        if ending == ".parquet":
            buffer = io.BytesIO()
            scored.table.write_parquet(buffer, compression="lz4")  # fast, because parts are read only once
            data = buffer.getbuffer()
        else:
            data = memoryview(csv_of(scored.table, header=batch.first_row == 0, safe=scorer.safe_csv))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a {ending} file cannot contain this table: {str(error).partition(chr(10))[0]}") from None
    churners, cells = int(scored.prediction.churn.sum()), scored.unexpected.to_json()
    return _ScoredBatch(data, batch.share, PartRecord(number, "", batch.first_row, batch.table.height, churners, cells))


def _in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield `function(item)` in the order of the items, computed by threads; hold at most `workers` + 1 items."""
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
