"""Batch of a data set (a folder of files): its rows are counted part by part, by any workers, and never held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from churnops.cluster import completed, open_workers
from churnops.data.accepted import Accepted
from churnops.data.dataset import DataSet, Part
from churnops.data.identity import Identities
from churnops.data.profile import ColumnProfile, Counts, Profile, count_profile, merge_profiles
from churnops.data.read import encode, outcomes
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import DataError, RegistryError
from churnops.files import as_text, usable_cores
from churnops.model import Bundle
from churnops.model.reference import SCORE
from churnops.model.sent import SentBundle
from churnops.monitoring.batch import Batch, CountedRows, LabelCoverage, Resolved
from churnops.registry.trained_on import load_trained_on
from churnops.schema import is_marked

ROWS = 50_000  # checked and counted at once
MAX_THREADS = 4


@dataclass(frozen=True)
class _PartCounter:
    """Everything that counting a part needs.

    Attributes
    ----------
    known
        Identities of the training rows, if they are known.
    may_lack
        Inputs that the files may lack.
    """

    bundle: SentBundle
    known: Identities | None
    may_lack: tuple[str, ...]


@dataclass(frozen=True)
class _PartCounts:
    """Counts of a part, and the scores and outcomes of its rows with a known outcome.

    Attributes
    ----------
    cells
        Counts and number of missing values of each column, in the cells of the bundle's reference.
    """

    number: int
    rows: int
    cells: Mapping[str, tuple[Counts, int]]
    trained: int
    probability: NDArray[np.float64]
    churned: NDArray[np.float64]
    unexpected: UnexpectedCells
    simulated: bool


def batch_from_folder(
    folder: Path, bundle: Bundle, models: Path, *, address: str = "", accept_missing: Sequence[str] = ()
) -> Batch:
    """Count the customers of a data set, with or without the target. The batch only reports.

    Every row counts as one customer: rows of the same customer, and copies, are not looked for. Every broken row
    refuses the data set.

    Parameters
    ----------
    models
        Folder of deployed models, which has the hashes of the training rows.
    address
        Value of the setting `cluster.address`; the workers do not change the batch.
    accept_missing
        Names or headers of columns that the files may lack.

    Raises
    ------
    DataError
        If a file cannot be read or breaks the bundle's Schema, or changes meanwhile.
    ClusterError
        If the cluster does not answer.
    """
    data, may_lack = DataSet.of(folder), Accepted.of(bundle.schema, missing=accept_missing).missing
    try:
        known = load_trained_on(models, bundle.content_sha256)
    except RegistryError:
        known = None
    counter = _PartCounter(SentBundle.of(bundle), known, tuple(sorted(may_lack)))
    parts, profile, counted = data.parts(), _no_rows(bundle), []
    with open_workers(address, min(usable_cores(), MAX_THREADS)) as workers:
        shared = workers.share(counter)
        for part in completed(workers, _count, ((shared, part) for part in parts)):
            profile = merge_profiles(profile, _profile(part, bundle))  # sums of integers: the order does not matter
            counted.append(replace(part, cells={}))  # which may be a megabyte
    counted.sort(key=lambda part: part.number)
    if DataSet.of(folder).sha256 != data.sha256:
        raise DataError(f"{folder} changed while it was read: type the command again")
    return _batch(counted, profile, as_text(Path(folder.name)), knows_training=known is not None)


def _no_rows(bundle: Bundle) -> Profile:
    """Return the empty profile of every column that is counted: all but the outcome."""
    target = bundle.schema.target.name
    return {name: column.empty() for name, column in bundle.reference.items() if name != target}


def _profile(part: _PartCounts, bundle: Bundle) -> Profile:
    return {name: ColumnProfile(bundle.reference[name].points, *counts) for name, counts in part.cells.items()}


def _batch(counted: Sequence[_PartCounts], profile: Profile, source: str, *, knows_training: bool) -> Batch:
    probability, churned = (np.concatenate([getattr(p, name) for p in counted]) for name in ("probability", "churned"))
    rows = sum(part.rows for part in counted)
    trained = sum(part.trained for part in counted) if knows_training else None
    return Batch(
        {},
        np.empty(0),
        np.empty(0),
        Resolved(probability, churned, LabelCoverage(due=rows, labelled=churned.size)),
        source,
        simulated=any(part.simulated for part in counted),
        unexpected=reduce(UnexpectedCells.merge, (part.unexpected for part in counted)),
        counted=CountedRows(rows, profile, trained),
    )


def _count(counter: _PartCounter, part: Part) -> _PartCounts:
    """Check, score and count a part: a task."""
    bundle = counter.bundle.load()
    schema, profile = bundle.schema, _no_rows(bundle)
    rows, trained, simulated, cells = 0, 0, False, UnexpectedCells()
    scores: list[NDArray[np.float64]] = []
    churned: list[NDArray[np.float64]] = []
    for batch in part.batches(ROWS, schema, "names"):
        table = batch.table.drop(schema.added, strict=False)  # without an earlier scoring
        try:
            customers = check_customers(
                table, schema, part.file.name, keep_outcome=True, may_lack=counter.may_lack, may_have_gaps=True
            )
        except ValidationError as error:
            raise error.below(batch.first_row) from None
        columns, outcome = encode(customers, schema), outcomes(customers, schema)
        probability, known = bundle.predict(columns).probability, ~np.isnan(outcome)
        profile = merge_profiles(profile, count_profile(profile, {**columns, SCORE: probability}))
        cells = cells.merge(UnexpectedCells.of(customers, columns, schema, batch.first_row))
        rows += customers.height
        trained += 0 if counter.known is None else int(counter.known.holds_rows(columns).sum())
        simulated |= is_marked(table.columns)
        scores.append(probability[known])
        churned.append(outcome[known])
    return _PartCounts(
        part.number,
        rows,
        {name: (column.counts, column.missing) for name, column in profile.items()},
        trained,
        np.concatenate(scores),
        np.concatenate(churned),
        cells.in_file(part.file.name),
        simulated,
    )
