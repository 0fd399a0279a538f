"""Tables of customers while a split runs: the challenger scores the customers of its arm."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.validate import ValidationError, check_column
from churnops.model import Bundle, Prediction
from churnops.schema import ARM, CUSTOMER_ID, Schema
from churnops.scoring.arms import Arms
from churnops.scoring.table import ScoredTable, score_table

log = logging.getLogger("churnops.scoring")

_logged: set[tuple[int, str]] = set()  # failures that this process has logged: experiment, and kind of the error


@dataclass(frozen=True)
class ChallengedTable:
    """A table that both arms scored.

    Attributes
    ----------
    scored
        All rows in the given order, each with the score of the model that answers it and the column `experiment_arm`.
        `explanation` and `columns` are the champion's for every row.
    challenger
        The rows that the challenger answers; None if it answers none.
    places
        Positions of these rows in `scored`, ascending.
    """

    scored: ScoredTable
    challenger: ScoredTable | None
    places: NDArray[np.int64]


def score_by_arms(table: pl.DataFrame, bundle: Bundle, arms: Arms | None, name: str, **options: Any) -> ScoredTable:
    """Score a table as `score_table` does; while a split runs, each customer by the model of its arm."""
    scored = score_table(table, bundle, name, **options)
    if arms is None:
        return scored
    ids = ids_of(scored, bundle.schema, name, options["first_row"])
    return challenge(scored, table, ids, arms, name, **options).scored


def challenge(
    scored: ScoredTable, table: pl.DataFrame, ids: Sequence[str | None], arms: Arms, name: str, **options: Any
) -> ChallengedTable:
    """Let the challenger answer the customers of its arm in a table that the champion has scored.

    The champion's scores stay for all rows if the challenger cannot be loaded or fails on a row.

    Parameters
    ----------
    table, name, options
        As they were given to `score_table`.
    ids
        The customers' ids, as of `ids_of`.
    """
    theirs = arms.assign(arms.experiment, arms.share, ids)
    places = theirs.nonzero()[0]
    merged, prediction = scored.table, scored.prediction
    challenger = None
    if places.size:
        part = table.filter(pl.Series(theirs))
        challenger = _challenger_scores(part, arms, name, options, like=merged)
    if challenger is not None:
        both = pl.concat([merged.filter(pl.Series(~theirs)), challenger.table])
        merged = both[np.argsort(np.concatenate([(~theirs).nonzero()[0], places]), kind="stable")]
        prediction = Prediction(prediction.probability.copy(), prediction.churn.copy())
        prediction.probability[places] = challenger.prediction.probability
        prediction.churn[places] = challenger.prediction.churn
    arm = pl.Series(ARM, np.where(theirs, "challenger", "champion"), dtype=pl.String)
    done = replace(scored, table=merged.with_columns(arm), prediction=prediction)
    return ChallengedTable(done, challenger, places if challenger is not None else places[:0])


def _challenger_scores(
    table: pl.DataFrame, arms: Arms, name: str, options: dict[str, Any], *, like: pl.DataFrame
) -> ScoredTable | None:
    """Return the challenger's scores with the columns of `like`; None if it fails, or answers in other types."""
    try:
        bundle = arms.load()
        if bundle is None:
            return None
        scored = score_table(table, bundle, name, **options)
        return replace(scored, table=scored.table.select(like.columns).cast(like.schema))
    except Exception as error:  # of any kind: the champion answers
        _log_once(arms.experiment, error)
        return None


def _log_once(experiment: int, error: Exception) -> None:
    """Log a failure of the challenger; a table has many parts, and each may fail."""
    failure = experiment, type(error).__name__
    if failure not in _logged:
        _logged.add(failure)
        log.error("the challenger of split %d fails, the deployed model scores its customers: %r", experiment, error)


def ids_of(scored: ScoredTable, schema: Schema, name: str, first_row: int = 0) -> list[str | None]:
    """Return the customers' ids of a scored table: from the Schema's column, else from a column `customer_id`.

    Raises
    ------
    ValidationError
        If an id is not valid.
    """
    identifier = schema.identifier
    if identifier is not None and identifier.name in scored.customers.columns:
        return scored.customers.get_column(identifier.name).to_list()
    other = CUSTOMER_ID.name
    if identifier is None and other not in schema.by_name and other in scored.table.columns:
        try:
            return check_column(scored.table.get_column(other), CUSTOMER_ID, name).to_list()
        except ValidationError as error:
            raise error.below(first_row) from None
    return [None] * scored.table.height
