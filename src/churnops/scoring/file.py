"""Score a file of customers of any size with the deployed bundle: in batches, on all cores, and resumable."""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from churnops import __version__
from churnops.data.batches import FileBatch, read_batches
from churnops.data.read import ENDINGS
from churnops.data.targets import check_free, check_target
from churnops.errors import ChurnopsError, DataError
from churnops.files import usable_cores
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.scoring.table import score_table, without_nesting
from churnops.scoring.unfinished import Unfinished, unfinished_folder, unfinished_result

ROWS = 10_000  # at a time: less makes the rest of the work count, more takes memory
MAX_WORKERS = 4  # each holds a batch and its explanations
EDGE = 2**20  # bytes at either end of the input that go into its identity

T = TypeVar("T")
R = TypeVar("R")


class InterruptedRunError(ChurnopsError):
    """The person at the keyboard stopped it; finished parts are kept."""

    exit_code = 130


@dataclass(frozen=True)
class ScoredFile:
    """What was written: rows, rows predicted to churn, model, and how many rows an earlier run had finished."""

    rows: int
    churners: int
    model_version: str
    resumed_rows: int


@dataclass(frozen=True)
class _ScoredBatch:
    data: memoryview
    rows: int
    churners: int
    share: float


@dataclass(frozen=True)
class FileScorer:
    """Scores files with the deployed bundle, in constant memory. The result does not depend on `rows` and `workers`.

    Attributes
    ----------
    models
        Folder of deployed models; the link `production` in it names the bundle.
    explain
        Whether to add what each score is made of.
    rows
        Number of rows that are scored, and kept, at a time.
    workers
        Threads that score; by default one a core, up to four.
    """

    models: Path
    explain: bool = False
    rows: int = ROWS
    workers: int | None = None

    def score(
        self,
        source: Path,
        target: Path,
        *,
        overwrite: bool = False,
        on_rows: Callable[[int, float], None] = lambda done, share: None,
        say: Callable[[str], None] = lambda text: None,
    ) -> ScoredFile:
        """Write the customers in `source` and their scores to `target`, whole or not at all.

        A run that is killed leaves the parts it finished in `.<target>.unfinished`; the same call goes on from there.

        Parameters
        ----------
        on_rows
            Told, from time to time, how many rows are finished and what share of the input that is (0 to 1).
        say
            Told in words if an earlier run is continued or cannot be.

        Raises
        ------
        ChurnopsError
            If nothing is deployed, a row breaks the Schema, or `target` exists or has another ending. After a row that
            breaks the Schema nothing is kept: the input has to change anyway.
        """
        if not source.is_file() or source.suffix.lower() not in ENDINGS:
            raise DataError(f"{source} is not a .csv or .parquet file")
        check_target(target)
        if not unfinished_folder(target).exists():  # a refusal then touches nothing
            check_free(target, [source], overwrite)
        bundle = require_deployed(self.models)
        with unfinished_result(target) as unfinished:
            check_free(target, [source], overwrite)  # another run may have finished meanwhile
            identity = self._identity(source, bundle)
            if unfinished.resume(identity):
                say("an earlier run stopped, but its input, model or options were others: starting again")
            resumed = unfinished.rows
            if resumed:
                say(f"going on after the {resumed:,} rows that an earlier run finished")
            with _keeping_parts(unfinished):
                if not unfinished.whole:
                    score = partial(_score, bundle=bundle, name=source.name, target=target, explain=self.explain)
                    batches = read_batches(source, rows=self.rows, skip=resumed)
                    on_rows(resumed, 0.0)
                    for scored in _in_order(score, batches, self.workers or min(usable_cores(), MAX_WORKERS)):
                        unfinished.add(scored.data, scored.rows, scored.churners)
                        on_rows(unfinished.rows, scored.share)
                    if self._identity(source, bundle) != identity:
                        raise DataError(f"{source} was changed while it was read: type the command again")
                unfinished.finish()
            return ScoredFile(unfinished.rows, unfinished.churners, bundle.version_name, resumed)

    def _identity(self, source: Path, bundle: Bundle) -> dict[str, Any]:
        """Return what decides the parts. The input's content is told by its size, its time and both of its ends."""
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
            "rows": self.rows,
            "input": source.suffix.lower(),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "edges_sha256": digest.hexdigest(),
        }


def _score(batch: FileBatch, *, bundle: Bundle, name: str, target: Path, explain: bool) -> _ScoredBatch:
    """Score one batch and write it as the part it becomes; the first part of a CSV has the header."""
    scored = score_table(batch.table, bundle, name, explain=explain, first_row=batch.first_row)
    buffer = io.BytesIO()
    try:
        if target.suffix.lower() == ".parquet":
            scored.table.write_parquet(buffer, compression="lz4")  # read once more only, when parts are joined
        else:
            without_nesting(scored.table, target.name).write_csv(buffer, include_header=batch.first_row == 0)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{target} cannot hold this table: {str(error).partition(chr(10))[0]}") from None
    return _ScoredBatch(buffer.getbuffer(), batch.table.height, int(scored.prediction.churn.sum()), batch.share)


def _in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield `function` of each item in the given order, computed by threads, one item ahead of them at most."""
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
    """Throw the parts away where the input has to change, keep them where the same command can go on."""
    kept = f"type the same command again to go on, or remove {unfinished.folder}"
    try:
        yield
    except ChurnopsError:
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
