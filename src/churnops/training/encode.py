"""Fit the encodings of linear models and of trees to training rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from churnops.features.encoding import AS_IT_IS, CLIPPED, EQUAL, LOOKED_UP, EncodedColumn, Encoding

Matrix = NDArray[np.float64]
Outcome = NDArray[np.bool_]

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


def tree_encoding(matrix: Matrix, outcome: Outcome, levels: Sequence[int], seed: int) -> tuple[Encoding, Matrix]:
    """Fit the encoding for trees, and return it with the encoded training rows.

    Numbers keep their missing values; without any in the training rows, later ones become the median. A category of up
    to 25 levels becomes a column for each level; of more levels, the level's churn rate, drawn towards the average rate
    the more, the fewer rows it has (Micci-Barreca 2001). In the training rows, the rate comes from other rows.

    Parameters
    ----------
    matrix
        Features, shape (n, k), with NaN for missing values.
    outcome
        Shape (n,).
    levels
        Number of levels of each feature, 0 for a number.
    """
    columns: list[EncodedColumn] = []
    crossed: dict[int, Matrix] = {}
    for feature, count in enumerate(levels):
        values = matrix[:, feature]
        if count == 0:
            columns.append(_number(feature, values))
        elif count <= ONE_HOT_LEVELS:
            columns += _levels(feature, values, count)
        else:
            rates, crossed[len(columns)] = _rates(values, outcome, count, seed)
            columns.append(EncodedColumn(feature, LOOKED_UP, table=tuple(rates)))
    return _encoded(columns, matrix, crossed)


def linear_encoding(matrix: Matrix, outcome: Outcome, levels: Sequence[int], seed: int) -> tuple[Encoding, Matrix]:
    """Fit the encoding for a linear model, and return it with the encoded training rows.

    A number becomes itself and a hinge `max(x - knot, 0)` for each knot, flat in the outermost 0.5 % of the training
    rows. Its missing values become the median and a column of their own. A category becomes a column for each level; of
    more than 100 levels, the log-odds of the level's churn rate. Parameters are those of `tree_encoding`.
    """
    columns: list[EncodedColumn] = []
    crossed: dict[int, Matrix] = {}
    for feature, count in enumerate(levels):
        values = matrix[:, feature]
        if count == 0:
            columns += _hinges(feature, values)
        elif count <= LINEAR_LEVELS:
            columns += _levels(feature, values, count)
        else:
            rates, training = _rates(values, outcome, count, seed)
            crossed[len(columns)] = _log_odds(training)
            columns.append(EncodedColumn(feature, LOOKED_UP, table=tuple(_log_odds(rates))))
    return _encoded(columns, matrix, crossed)


def _number(feature: int, values: Matrix) -> EncodedColumn:
    """Return a number as it is; without missing values in training, trees do not learn where to put later ones."""
    if np.isnan(values).any():
        return EncodedColumn(feature, AS_IT_IS)
    limit = np.finfo(np.float64).max
    return EncodedColumn(feature, CLIPPED, float(np.median(values)), -limit, limit)


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


def _hinges(feature: int, values: Matrix) -> list[EncodedColumn]:
    known = values[~np.isnan(values)]
    if known.size == 0:
        return [EncodedColumn(feature, EQUAL, low=np.nan)]
    fill = float(np.median(known))
    low, high = np.quantile(known, TAILS, method="nearest")
    if np.unique(known).size <= FEW_VALUES:
        low, high = known.min(), known.max()
    knots = np.unique(np.quantile(known, KNOTS, method="nearest"))
    columns = [EncodedColumn(feature, CLIPPED, fill, float(low), float(high))]
    columns += [EncodedColumn(feature, CLIPPED, fill, float(k), float(high)) for k in knots if low < k < high]
    if known.size < values.size:
        columns.append(EncodedColumn(feature, EQUAL, low=np.nan))
    return columns


def _rates(codes: Matrix, outcome: Outcome, count: int, seed: int) -> tuple[Matrix, Matrix]:
    """Return the churn rates of levels, of missing and of unknown codes; and each row's rate by other rows."""
    places = np.where(np.isnan(codes), count, np.where(codes < count, codes, count + 1))
    folds = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=seed)
    encoder = TargetEncoder(categories=[np.arange(count + 2.0)], target_type="binary", smooth="auto", cv=folds)
    training = encoder.fit_transform(places[:, None], outcome)[:, 0]
    return encoder.encodings_[0], training


def _log_odds(rates: Matrix) -> Matrix:
    bounded = np.clip(rates, 1e-4, 1 - 1e-4)
    result: Matrix = np.log(bounded / (1 - bounded))
    return result
