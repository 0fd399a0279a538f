"""Copies of customers in a batch, such as the rows that a join multiplied: they are no independent customers."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from churnops.data.identity import content_hashes
from churnops.model import Bundle
from churnops.monitoring.batch import Batch, LabelCoverage, Resolved
from churnops.monitoring.drift import MIN_ROWS
from churnops.monitoring.training_rows import usual_repeats

EXCESS = 0.1
"""Share of copies, beyond that of the training table, from which each customer counts once."""


def without_copies(bundle: Bundle, batch: Batch, models: Path) -> Batch:
    """Return a batch in which equal rows count once, if it has many more of them than the training table.

    Rows are equal if their model inputs and outcomes are. In a table with few different values, different customers are
    often equal, so the share of repeated training rows is the measure; it is assumed to grow with the number of rows. A
    batch stays as it is if the training rows are not known, or if fewer than 30 different rows would remain: then its
    columns are rather broken than its customers repeated. It also stays as it is without scores, or without personal
    inputs, which the journal does not keep.

    Parameters
    ----------
    models
        Folder of the deployed models, which has the hashes of the training rows.
    """
    if batch.rows < MIN_ROWS or not batch.scored:
        return batch
    inputs = [column.name for column in bundle.schema.model_inputs]
    if not batch.columns.keys() >= set(inputs):
        return batch
    contents = content_hashes({**batch.columns, ":outcome": batch.outcome}, [*inputs, ":outcome"])
    kept = np.sort(np.unique(contents, return_index=True)[1])
    copies = batch.rows - kept.size
    if copies <= EXCESS * batch.rows or kept.size < MIN_ROWS:
        return batch
    usual = usual_repeats(bundle, batch.rows, models)
    if usual is None or copies <= (usual + EXCESS) * batch.rows:
        return batch
    probability, outcome = batch.probability[kept], batch.outcome[kept]
    resolved = batch.resolved
    if batch.window is None:
        known = ~np.isnan(outcome)
        coverage = LabelCoverage(due=kept.size, labelled=int(known.sum()))
        resolved = Resolved(probability[known], outcome[known], coverage)
    return replace(
        batch,
        columns={name: values[kept] for name, values in batch.columns.items()},
        probability=probability,
        outcome=outcome,
        resolved=resolved,
        repeated_rows=batch.repeated_rows + copies,
    )
