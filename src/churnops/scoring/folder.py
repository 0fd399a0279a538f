"""Score a data set (a folder of files) with the deployed bundle: in parts, by any workers, and resumable."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from churnops import __version__
from churnops.cluster import completed, open_workers
from churnops.data.accepted import Accepted
from churnops.data.dataset import DataSet, Part
from churnops.errors import DataError
from churnops.model import Bundle
from churnops.model.sent import SentBundle
from churnops.schema import DECISION
from churnops.scoring.file import FileScorer, ScoredFile, notices, others_read
from churnops.scoring.folder_result import Publish, folder_result, part_name
from churnops.scoring.manifest import PartRecord, unexpected_cells
from churnops.scoring.part import PartScorer, score_part
from churnops.scoring.stored_result import stored_result
from churnops.scoring.table import check_expected
from churnops.scoring.unfinished import UnfinishedParts
from churnops.traces import span


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
        source: Path | str,
        target: Path | str,
        *,
        overwrite: bool = False,
        on_rows: Callable[[int, float, int], None] = lambda done, share, workers: None,
        on_message: Callable[[str], None] = lambda text: None,
    ) -> ScoredFile:
        """Write the customers of the folder `source`, with their scores, to the folder `target`.

        Parameters
        ----------
        source
            Path of a folder, or an address in an object store.
        target
            As `source`. Workers read and write objects themselves.
        on_rows
            Called after each part with the number of finished rows, their share of the input, in [0, 1], and the number
            of workers.
        on_message
            Called with a sentence on columns that the result lacks, on an earlier run, and on the workers.

        Raises
        ------
        ChurnopsError
            As `FileScorer.score`; and if `target` is not a free folder, or the cluster or a store does not answer.
        """
        source, target = (place.rstrip("/") if isinstance(place, str) else place for place in (source, target))
        data, bundle, options = DataSet.of(source), self.options.deployed(), self.options
        accepted = Accepted.of(bundle.schema, unknown=options.accept_unknown, missing=options.accept_missing)
        identity = options.identity(bundle, {"input": data.sha256})
        opened: AbstractContextManager[tuple[UnfinishedParts, Publish]]
        if isinstance(target, Path):
            opened = folder_result(source, target, identity, overwrite=overwrite)
        else:
            opened = stored_result(source, target, identity, overwrite=overwrite)
        with opened as (unfinished, publish), data.with_heads() as known:
            resumed = unfinished.report(on_message)
            name, others = Path(source).name, others_read(data.ending)
            replaced = notices([file.path for file in known.files], name, bundle.schema, others, on_message)
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
                    records = self._score_parts(known.parts(), scorer, on_rows, on_message)
                if DataSet.of(source).sha256 != data.sha256:
                    raise DataError(f"{source} changed while it was read: type the command again")
                check_expected(unexpected_cells(records), bundle, name, accepted)
                with span("publish"):
                    on_written = options.on_written
                    publish(
                        records,
                        _manifest(records, bundle, explained=options.explain),
                        (lambda result: on_written(result, bundle)) if on_written else None,
                    )
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


def _manifest(records: Sequence[PartRecord], bundle: Bundle, *, explained: bool) -> dict[str, Any]:
    """Return the content of the result's manifest."""
    return {
        "churnops": __version__,
        "model_version": bundle.version_name,
        "model_sha256": bundle.content_sha256,
        **({DECISION: bundle.decision_version} if bundle.decision_version else {}),
        "explained": explained,
        "rows": sum(record.rows for record in records),
        "predicted_to_churn": sum(record.churners for record in records),
        "parts": [{**asdict(record), "data": part_name(record)} for record in records],
    }
