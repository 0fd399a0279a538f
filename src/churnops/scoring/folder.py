"""Score a data set (a folder of files) with the deployed bundle: in parts, by any workers, and resumable."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from churnops import __version__
from churnops.cluster import completed, open_workers
from churnops.data.accepted import Accepted
from churnops.data.dataset import DataSet, Part
from churnops.data.targets import WRITTEN
from churnops.errors import DataError
from churnops.files import close_to_others, fsync_folder, write_flushed
from churnops.model import Bundle
from churnops.model.sent import SentBundle
from churnops.schema import DECISION
from churnops.scoring.file import FileScorer, ScoredFile, notices, others_read
from churnops.scoring.manifest import MANIFEST, PartRecord, unexpected_cells
from churnops.scoring.part import PartScorer, score_part
from churnops.scoring.table import check_expected
from churnops.scoring.unfinished import Unfinished, unfinished_folder, unfinished_result
from churnops.traces import span

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
        data, bundle, options = DataSet.of(source), self.options.deployed(), self.options
        accepted = Accepted.of(bundle.schema, unknown=options.accept_unknown, missing=options.accept_missing)
        identity = options.identity(bundle, {"input": data.sha256})
        with unfinished_result(target, identity) as unfinished:
            _check_target(source, target, overwrite=overwrite)  # another run may have finished meanwhile
            resumed = unfinished.report(on_message)
            paths, others = [file.path for file in data.files], others_read(data.ending)
            replaced = notices(paths, source.name, bundle.schema, others, on_message)
            scorer = PartScorer(
                SentBundle.of(bundle),
                unfinished.manifest,
                options.explain,
                options.safe_csv,
                options.rows,
                tuple(sorted(accepted.missing)),
                options.arms,
            )
            with unfinished.keeping_parts():
                with span("score"):
                    records = self._score_parts(data.parts(), scorer, on_rows, on_message)
                if DataSet.of(source).sha256 != data.sha256:
                    raise DataError(f"{source} changed while it was read: type the command again")
                cells = unexpected_cells(records)
                check_expected(cells, bundle, source.name, accepted)
                with span("publish"):
                    _complete(unfinished, records, bundle, explained=options.explain)
                    options.on_written(unfinished.result, bundle)
                    _publish(unfinished)
        return ScoredFile.of(records, bundle, resumed, replaced)

    def _score_parts(
        self,
        parts: Sequence[Part],
        scorer: PartScorer,
        on_rows: Callable[[int, float, int], None],
        on_message: Callable[[str], None],
    ) -> list[PartRecord]:
        """Score the parts that are not finished; return the records of all, in order."""
        finished = scorer.manifest.finished()
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


def _complete(unfinished: Unfinished, records: Sequence[PartRecord], bundle: Bundle, *, explained: bool) -> None:
    """Give the parts their names, and write the manifest; a killed call can be repeated."""
    result, listed = unfinished.result, []
    for record in records:
        name = f"part-{record.number:06d}{Path(record.data).suffix}"
        if not (result / name).exists():
            (unfinished.manifest.folder / record.data).replace(result / name)
        close_to_others(result / name)  # a worker's account may write files that everybody may read
        listed.append({**asdict(record), "data": name})
    document = {
        "churnops": __version__,
        "model_version": bundle.version_name,
        "model_sha256": bundle.content_sha256,
        **({DECISION: bundle.decision_version} if bundle.decision_version else {}),
        "explained": explained,
        "rows": sum(record.rows for record in records),
        "predicted_to_churn": sum(record.churners for record in records),
        "parts": listed,
    }
    write_flushed(result / MANIFEST, json.dumps(document, indent=1).encode())
    write_flushed(result / SUCCESS, b"")
    fsync_folder(result)


def _publish(unfinished: Unfinished) -> None:
    """Give the result its name."""
    target = unfinished.target
    if target.exists():
        target.rename(unfinished.folder / "replaced")
    unfinished.result.rename(target)
    fsync_folder(target.parent)
