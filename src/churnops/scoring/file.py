"""Score a file of any size with the deployed bundle: in batches, on several cores, and resumable."""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, Literal, TypeVar

import polars as pl

from churnops import __version__
from churnops.data.accepted import Accepted
from churnops.data.batches import FileBatch, columns_left_out, read_batches, replaced_columns
from churnops.data.read import ENDINGS
from churnops.data.targets import check_free, check_target
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.errors import ChurnopsError, DataError
from churnops.files import usable_cores
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.schema import Schema
from churnops.scoring.csv_answer import csv_of
from churnops.scoring.table import check_expected, score_table
from churnops.scoring.unfinished import Unfinished, unfinished_folder, unfinished_result

ROWS = 10_000  # of a batch: smaller batches take more time, larger ones more memory
MAX_WORKERS = 4  # each worker keeps a batch and its explanations in memory
EDGE = 2**20  # the input is identified by this many bytes at each end

T = TypeVar("T")
R = TypeVar("R")


class InterruptedRunError(ChurnopsError):
    """The user stopped the run; finished parts are kept."""

    exit_code = 130


@dataclass(frozen=True)
class ScoredFile:
    """Numbers of scored rows, of predicted churners, and of rows that an earlier run had finished; and the model.

    `replaced` are the input's columns with names that scoring adds: they are not in the result.
    `unknown` has a sentence for each column with unknown levels, `empty` for each with unexpected empty cells.
    """

    rows: int
    churners: int
    model_version: str
    resumed_rows: int
    replaced: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


@dataclass(frozen=True)
class _ScoredBatch:
    data: memoryview
    rows: int
    churners: int
    share: float
    unexpected: UnexpectedCells


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
        Rows of a batch; each scored batch is saved as a part.
    workers
        Threads that score; None: one for each core, up to four.
    accept_unknown
        Whether a file with many unknown levels is scored.
    accept_missing
        Names or headers of columns that the file may lack, or that may be empty in many rows.
    """

    models: Path
    explain: bool = False
    safe_csv: bool = False
    rows: int = ROWS
    workers: int | None = None
    accept_unknown: bool = False
    accept_missing: tuple[str, ...] = ()

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

        A killed run leaves its finished parts in `.<target>.unfinished`; the same call continues from there.

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
        if not source.is_file() or source.suffix.lower() not in ENDINGS:
            raise DataError(
                f"{source} {'is not a .csv, .parquet or .xlsx file' if source.exists() else 'does not exist'}"
            )
        check_target(target)
        if not unfinished_folder(target).exists():  # refuse before a folder is made
            check_free(target, [source], overwrite)
        bundle = require_deployed(self.models)
        accepted = Accepted.of(bundle.schema, unknown=self.accept_unknown, missing=self.accept_missing)
        with unfinished_result(target) as unfinished:
            check_free(target, [source], overwrite)  # another run may have finished meanwhile
            identity = self._identity(source, bundle)
            if unfinished.resume(identity):
                on_message("an earlier run used another input, model or option: starting again")
            others = others_read(target.suffix)
            replaced = notices([source], source.name, bundle.schema, others, on_message)
            resumed = unfinished.rows
            if resumed:
                on_message(f"continuing after the {resumed:,} rows that an earlier run finished")
            cells = reduce(UnexpectedCells.merge, map(UnexpectedCells.read, unfinished.notes), UnexpectedCells())
            with _keeping_parts(unfinished):
                if not unfinished.whole:
                    score = partial(
                        _score, bundle=bundle, name=source.name, target=target, scorer=self, may_lack=accepted.missing
                    )
                    batches = read_batches(source, rows=self.rows, schema=bundle.schema, others=others, skip=resumed)
                    on_rows(resumed, 0.0)
                    for scored in _in_order(score, batches, self.threads):
                        unfinished.add(scored.data, scored.rows, scored.churners, scored.unexpected.to_json())
                        cells = cells.merge(scored.unexpected)
                        on_rows(unfinished.rows, scored.share)
                    if self._identity(source, bundle) != identity:
                        raise DataError(f"{source} changed while it was read: type the command again")
                    check_expected(replace(cells, rows=unfinished.rows), bundle, source.name, accepted)
                unfinished.finish()
            cells = replace(cells, rows=unfinished.rows)
            return ScoredFile(
                unfinished.rows,
                unfinished.churners,
                bundle.version_name,
                resumed,
                replaced,
                tuple(cells.unknown_sentences(bundle.schema)),
                tuple(cells.empty_sentences(bundle.schema)),
            )

    def _identity(self, source: Path, bundle: Bundle) -> dict[str, Any]:
        """Return the identity of a run: versions, options, and the input's size, modification time, and both ends."""
        status = source.stat()
        digest = hashlib.sha256()
        with source.open("rb") as file:
            digest.update(file.read(EDGE))
            file.seek(max(status.st_size - EDGE, 0))
            digest.update(file.read(EDGE))
        return {
            "churnops": __version__,
            "model": bundle.content_sha256,
            "explain": self.explain,
            "safe_csv": self.safe_csv,
            "rows": self.rows,
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
    batch: FileBatch, *, bundle: Bundle, name: str, target: Path, scorer: FileScorer, may_lack: Collection[str]
) -> _ScoredBatch:
    """Score one batch and return it as a part; the first part of a CSV has the header."""
    scored = score_table(
        batch.table,
        bundle,
        name,
        explain=scorer.explain,
        first_row=batch.first_row,
        may_lack=may_lack,
        may_have_gaps=True,
    )
    try:
        if target.suffix.lower() == ".parquet":
            buffer = io.BytesIO()
            scored.table.write_parquet(buffer, compression="lz4")  # fast, because parts are read only once
            data = buffer.getbuffer()
        else:
            data = memoryview(csv_of(scored.table, header=batch.first_row == 0, safe=scorer.safe_csv))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{target} cannot contain this table: {str(error).partition(chr(10))[0]}") from None
    return _ScoredBatch(data, batch.table.height, int(scored.prediction.churn.sum()), batch.share, scored.unexpected)


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


@contextmanager
def _keeping_parts(unfinished: Unfinished) -> Iterator[None]:
    """Discard the parts if the input has to change; keep them if the same command can continue."""
    kept = f"type the same command again to continue, or remove {unfinished.folder}"
    try:
        yield
    except ChurnopsError as error:
        note_discarded(error, unfinished.rows, unfinished.target)
        unfinished.discard()
        raise
    except OSError as error:
        if not unfinished.rows:
            raise
        reason = f"{unfinished.target} cannot be written: {error.strerror or error}"
        raise DataError(f"{reason}; {unfinished.rows:,} finished rows are kept: {kept}") from None
    except KeyboardInterrupt:
        if not unfinished.rows:
            raise
        raise InterruptedRunError(f"stopped; {unfinished.rows:,} finished rows are kept: {kept}") from None


def note_discarded(error: ChurnopsError, rows: int, target: Path) -> None:
    """Add to the error of a refused input what became of the rows that were scored before it."""
    if rows:
        error.add_note(f"{target} is not written, and the {rows:,} rows that were scored until then are discarded")
