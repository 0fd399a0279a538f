"""Score a data set (a folder of files) with the deployed bundle: in parts, by any workers, and resumable.

Everything is written beside the result, in `.<result>.unfinished/<hash of the inputs>`: `parts` has the files of the
workers, `parts/records` the manifest, and `result` the finished files under their final names. At the end `result`
becomes the result, whole or not at all.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from churnops import __version__
from churnops.cluster import completed, open_workers
from churnops.data.accepted import Accepted
from churnops.data.dataset import DataSet, Part
from churnops.data.targets import WRITTEN
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.errors import ChurnopsError, ClusterError, DataError
from churnops.files import close_to_others, fsync_folder, lock_folder, write_flushed
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.model.sent import SentBundle
from churnops.scoring.file import FileScorer, InterruptedRunError, ScoredFile, note_discarded, notices, others_read
from churnops.scoring.manifest import MANIFEST, FolderRecords, Manifest, PartRecord
from churnops.scoring.part import RECORDS, PartScorer, score_part
from churnops.scoring.table import check_expected
from churnops.scoring.unfinished import unfinished_folder

PARTS, RESULT = "parts", "result"
SUCCESS = "_SUCCESS"


@dataclass(frozen=True)
class FolderScorer:
    """Scores data sets with the options of a `FileScorer`. The workers do not change the result.

    Attributes
    ----------
    address
        Value of the setting `cluster.address`.
    """

    options: FileScorer
    address: str = ""

    def score(
        self,
        source: Path,
        target: Path,
        *,
        overwrite: bool = False,
        on_rows: Callable[[int, float, int], None] = lambda done, share, workers: None,
        on_message: Callable[[str], None] = lambda text: None,
    ) -> ScoredFile:
        """Write the customers of the folder `source`, with their scores, to the folder `target`.

        Parameters
        ----------
        on_rows
            Called after each part with the number of finished rows, their share of the input, in [0, 1], and the number
            of workers.
        on_message
            Called with a sentence on columns that the result lacks, on an earlier run, and on the workers.

        Raises
        ------
        ChurnopsError
            As `FileScorer.score`; and if `target` is not a free folder, or the cluster does not answer.
        """
        if not unfinished_folder(target).exists():  # refuse before a folder is made
            _check_target(source, target, overwrite=overwrite)
        data, bundle, options = DataSet.of(source), require_deployed(self.options.models), self.options
        accepted = Accepted.of(bundle.schema, unknown=options.accept_unknown, missing=options.accept_missing)
        with _unfinished(target, _identity(data, bundle, options)) as (folder, is_other):
            _check_target(source, target, overwrite=overwrite)  # another run may have finished meanwhile
            if is_other:
                on_message("an earlier run used another input, model or option: starting again")
            paths, others = [file.path for file in data.files], others_read(data.ending)
            replaced = notices(paths, source.name, bundle.schema, others, on_message)
            scorer = PartScorer(
                SentBundle.of(bundle),
                folder.resolve() / PARTS,
                options.explain,
                options.safe_csv,
                options.rows,
                tuple(sorted(accepted.missing)),
            )
            resumed = sum(record.rows for record in _manifest(folder).finished().values())
            if resumed:
                on_message(f"continuing after the {resumed:,} rows that an earlier run finished")
            with _keeping_parts(folder, target):
                records = self._score_parts(data.parts(), scorer, on_rows, on_message)
                if DataSet.of(source).sha256 != data.sha256:
                    raise DataError(f"{source} changed while it was read: type the command again")
                cells = _unexpected(records)
                check_expected(cells, bundle, source.name, accepted)
            _publish(folder, target, records, bundle, options)
        return ScoredFile(
            cells.rows,
            sum(record.churners for record in records),
            bundle.version_name,
            resumed,
            replaced,
            tuple(cells.unknown_sentences(bundle.schema)),
            tuple(cells.empty_sentences(bundle.schema)),
        )

    def _score_parts(
        self,
        parts: Sequence[Part],
        scorer: PartScorer,
        on_rows: Callable[[int, float, int], None],
        on_message: Callable[[str], None],
    ) -> list[PartRecord]:
        """Score the parts that are not finished; return the records of all, in order."""
        finished = Manifest(FolderRecords(scorer.folder / RECORDS)).finished()
        done, share = sum(record.rows for record in finished.values()), sum(parts[number].share for number in finished)
        with open_workers(self.address, self.options.threads) as workers:
            if workers.description:
                on_message(workers.description)
            on_rows(done, share, workers.count)
            shared = workers.share(scorer)
            tasks = [(shared, part) for part in parts if part.number not in finished]
            for record in completed(workers, score_part, tasks):
                finished[record.number] = record
                done, share = done + record.rows, share + parts[record.number].share
                on_rows(done, share, workers.count)
        return [finished[part.number] for part in parts]


def _manifest(folder: Path) -> Manifest:
    return Manifest(FolderRecords(folder / PARTS / RECORDS))


def _unexpected(records: Sequence[PartRecord]) -> UnexpectedCells:
    """Return the unexpected cells of all parts, each with the file of its first row."""
    cells = UnexpectedCells()
    for record in records:
        if record.unexpected:
            cells = cells.merge(UnexpectedCells.read(record.unexpected).in_file(record.source))
    return replace(cells, rows=sum(record.rows for record in records))


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse a target that is no folder of a data set, and an existing one that this command has not written."""
    if target.suffix.lower() in WRITTEN:
        raise DataError(f"{target}: {source} is a folder, so the result is one: name it without {target.suffix}")
    if not target.parent.is_dir():
        raise DataError(f"{target.parent} is not a folder: make it first")
    given, written = source.resolve(), target.resolve()
    if written.is_relative_to(given) or given.is_relative_to(written):
        raise DataError(f"{target} contains the folder that is scored, or is in it: name another folder")
    if target.exists() and not overwrite:
        raise DataError(f"{target} exists already: name another folder, or give --force to replace it")
    if target.exists() and not (target / MANIFEST).is_file():
        raise DataError(f"{target} was not written by `churnops predict`, so it is not replaced: name another folder")


def _identity(data: DataSet, bundle: Bundle, options: FileScorer) -> dict[str, Any]:
    """Return what decides the result."""
    return {
        "churnops": __version__,
        "model": bundle.content_sha256,
        "explain": options.explain,
        "safe_csv": options.safe_csv,
        "rows": options.rows,
        "accept_missing": sorted(options.accept_missing),
        "input": data.sha256,
    }


@contextmanager
def _unfinished(target: Path, identity: Mapping[str, Any]) -> Iterator[tuple[Path, bool]]:
    """Lock the unfinished result, and yield its folder, and whether one of another identity was removed.

    The folder's name has the hash of the identity. So a task of an earlier run that still runs somewhere cannot add
    parts of another model or input.
    """
    outer = unfinished_folder(target)
    folder = outer / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    with lock_folder(outer) as held:
        if not held:
            raise DataError(f"{target} is being written by another run: wait for it, or name another folder")
        others = [path for path in outer.iterdir() if path != folder]
        is_published = folder.exists() and not (folder / RESULT).exists()
        for path in (*others, *([folder] if is_published else ())):
            shutil.rmtree(path)
        for name in (f"{PARTS}/{RECORDS}", RESULT):
            (folder / name).mkdir(parents=True, exist_ok=True)
        try:
            yield folder, bool(others)
        finally:
            if not (folder / RESULT).exists() or not any((folder / PARTS / RECORDS).iterdir()):
                shutil.rmtree(outer)


@contextmanager
def _keeping_parts(folder: Path, target: Path) -> Iterator[None]:
    """Discard the parts if the input has to change; keep them if the same command can continue."""

    def finished_rows() -> int:
        return sum(record.rows for record in _manifest(folder).finished().values())

    def kept() -> str:
        again = f"type the same command again to continue, or remove {folder.parent}"
        return f"{rows:,} finished rows are kept: {again}" if (rows := finished_rows()) else ""

    try:
        yield
    except ClusterError as error:
        if text := kept():
            error.add_note(text)
        raise
    except ChurnopsError as error:
        note_discarded(error, finished_rows(), target)
        shutil.rmtree(folder / PARTS / RECORDS)
        (folder / PARTS / RECORDS).mkdir()
        raise
    except OSError as error:
        if not (text := kept()):
            raise
        raise DataError(f"{target} cannot be written: {error.strerror or error}; {text}") from None
    except KeyboardInterrupt:
        if not (text := kept()):
            raise
        raise InterruptedRunError(f"stopped; {text}") from None


def _publish(folder: Path, target: Path, records: Sequence[PartRecord], bundle: Bundle, options: FileScorer) -> None:
    """Give the parts their names, write the manifest, and give the result its name; a killed call can be repeated."""
    result, listed = folder / RESULT, []
    for record in records:
        name = f"part-{record.number:06d}{Path(record.data).suffix}"
        if not (result / name).exists():
            (folder / PARTS / record.data).replace(result / name)
        close_to_others(result / name)  # a worker's account may write files that everybody may read
        listed.append({**asdict(record), "data": name})
    document = {
        "churnops": __version__,
        "model_version": bundle.version_name,
        "model_sha256": bundle.content_sha256,
        "explained": options.explain,
        "rows": sum(record.rows for record in records),
        "predicted_to_churn": sum(record.churners for record in records),
        "parts": listed,
    }
    write_flushed(result / MANIFEST, json.dumps(document, indent=1).encode())
    write_flushed(result / SUCCESS, b"")
    fsync_folder(result)
    if target.exists():
        target.rename(folder / "replaced")
    result.rename(target)
    fsync_folder(target.parent)
