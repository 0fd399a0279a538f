"""Fit the encodings of linear models and of trees to training rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from churnops.features.encoding import AS_IT_IS, CLIPPED, EQUAL, LOOKED_UP, EncodedColumn, Encoding

Matrix = NDArray[np.float64]
Outcome = NDArray[np.bool_]
Customers = NDArray[np.intp] | None

ONE_HOT_LEVELS = 25
"""Trees get a column for each level of a category with at most this number of levels; see `tree_encoding`."""
LINEAR_LEVELS = 100
"""A linear model gets a column for each level of a category with at most this number of levels."""
KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Quantiles at which the line of a number bends."""
TAILS = (0.005, 0.995)
"""Quantiles beyond which a linear model's score is flat."""
FEW_VALUES = 20
"""The tails of a number with at most this number of distinct values are kept."""
INNER_FOLDS = 5


class FeatureKind(NamedTuple):
    """Kind of a feature.

    Attributes
    ----------
    levels
        Number of levels of a category, 0 for a number.
    direction
        1 if a higher value must never lower the score, -1 if it must never raise it, 0 if it may do both.
    """

    levels: int = 0
    direction: int = 0


Kinds = Sequence[FeatureKind]


def tree_encoding(
    matrix: Matrix, outcome: Outcome, kinds: Kinds, seed: int, *, gaps: bool = True, customers: Customers = None
) -> tuple[Encoding, Matrix]:
    """Fit the encoding for trees, and return it with the encoded training rows.

    Numbers keep their missing values; without any in the training rows, later ones become the median. Without `gaps`,
    all become the median, and a column of their own. A category of up to 25 levels becomes a column for each level; of
    more levels, the level's churn rate, drawn towards the average rate the more, the fewer rows it has (Micci-Barreca
    2001). In the training rows, the rate comes from other rows, which are of other customers.

    Parameters
    ----------
    matrix
        Features, shape (n, k), with NaN for missing values.
    outcome
        Shape (n,).
    kinds
        Kind of each feature.
    customers
        Number of each row's customer, shape (n,); None if all rows are of different customers.
    """
    columns: list[EncodedColumn] = []
    crossed: dict[int, Matrix] = {}
    for feature, (count, _) in enumerate(kinds):
        values = matrix[:, feature]
        if count == 0:
            as_it_is = gaps and np.isnan(values).any()
            columns += [EncodedColumn(feature, AS_IT_IS)] if as_it_is else _filled(feature, values)
        elif count <= ONE_HOT_LEVELS:
            columns += _levels(feature, values, count)
        else:
            rates, crossed[len(columns)] = _rates(values, outcome, count, seed, customers)
            columns.append(EncodedColumn(feature, LOOKED_UP, table=tuple(rates)))
    return _encoded(columns, matrix, crossed)


def linear_encoding(
    matrix: Matrix, outcome: Outcome, kinds: Kinds, seed: int, *, customers: Customers = None
) -> tuple[Encoding, Matrix]:
    """Fit the encoding for a linear model, and return it with the encoded training rows.

    A number becomes itself and a hinge `max(x - knot, 0)` for each knot, flat in the outermost 0.5 % of the training
    rows. With a direction, it becomes a segment between each knot and the next instead: with coefficients of one sign,
    their sum is monotone. Missing values become the median and a column of their own. A category becomes a column for
    each level; of more than 100 levels, the log-odds of the level's churn rate. Parameters are those of
    `tree_encoding`.
    """
    columns: list[EncodedColumn] = []
    crossed: dict[int, Matrix] = {}
    for feature, (count, direction) in enumerate(kinds):
        values = matrix[:, feature]
        if count == 0:
            columns += _hinges(feature, values, direction)
        elif count <= LINEAR_LEVELS:
            columns += _levels(feature, values, count)
        else:
            rates, training = _rates(values, outcome, count, seed, customers)
            crossed[len(columns)] = _log_odds(training)
            columns.append(EncodedColumn(feature, LOOKED_UP, table=tuple(_log_odds(rates))))
    return _encoded(columns, matrix, crossed)


def _encoded(columns: Sequence[EncodedColumn], matrix: Matrix, crossed: dict[int, Matrix]) -> tuple[Encoding, Matrix]:
    encoding = Encoding.of(columns, matrix.shape[1])
    encoded = encoding(matrix)
    for place, values in crossed.items():
        encoded[:, place] = values
    return encoding, encoded


def _levels(feature: int, codes: Matrix, count: int) -> list[EncodedColumn]:
    """Return a column for each level (one for two levels), and one for missing values if there are any."""
    missing = [EncodedColumn(feature, EQUAL, low=np.nan)] if np.isnan(codes).any() else []
    first = 1 if count == 2 else 0
    return [EncodedColumn(feature, EQUAL, low=float(code)) for code in range(first, count)] + missing


def _filled(feature: int, values: Matrix) -> list[EncodedColumn]:
    """Return a number with the median for missing values, and a column for these if training rows have any."""
    known, missing = values[~np.isnan(values)], EncodedColumn(feature, EQUAL, low=np.nan)
    if known.size == 0:
        return [missing]
    limit = np.finfo(np.float64).max
    number = EncodedColumn(feature, CLIPPED, float(np.median(known)), -limit, limit)
    return [number, missing] if known.size < values.size else [number]


def _hinges(feature: int, values: Matrix, direction: int) -> list[EncodedColumn]:
    number, *missing = _filled(feature, values)
    if number.kind == EQUAL:
        return [number]
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, TAILS, method="nearest")
    if np.unique(known).size <= FEW_VALUES:
        low, high = known.min(), known.max()
    knots = np.unique(np.quantile(known, KNOTS, method="nearest"))
    starts = [low, *knots[(low < knots) & (knots < high)]]
    spans = pairwise([*starts, high]) if direction else [(start, high) for start in starts]
    return [number._replace(low=float(start), high=float(end)) for start, end in spans] + missing


def _rates(codes: Matrix, outcome: Outcome, count: int, seed: int, customers: Customers) -> tuple[Matrix, Matrix]:
    """Return the churn rates of levels, of missing and of unknown codes; and each row's rate by other rows."""
    places = np.where(np.isnan(codes), count, np.where(codes < count, codes, count + 1))
    rarer = min(outcome.sum(), outcome.size - outcome.sum())
    number = max(2, min(INNER_FOLDS, int(rarer)))
    folds = StratifiedKFold(number, shuffle=True, random_state=seed)
    if customers is not None and np.unique(customers).size >= number:
        folds = GroupKFold(number).split(places, outcome, customers)
    encoder = TargetEncoder(categories=[np.arange(count + 2.0)], target_type="binary", smooth="auto", cv=folds)
    training = encoder.fit_transform(places[:, None], outcome)[:, 0]
    return encoder.encodings_[0], training


def _log_odds(rates: Matrix) -> Matrix:
    bounded = np.clip(rates, 1e-4, 1 - 1e-4)
    result: Matrix = np.log(bounded / (1 - bounded))
    return result
