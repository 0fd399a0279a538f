"""Encoding: the columns that a model sees, computed from the features as plain arrays describe.

A linear model and trees need the same customers in different forms. A linear model gets numbers without gaps, bent at
knots, and a coefficient for each level of a category. Trees get numbers with their gaps, and a churn rate for each
level. An `Encoding` describes either form. `owner` tells which feature each encoded column came from, so that a model's
contributions can be added up by feature.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churnops.compiled import compiled
from churnops.errors import BundleError

AS_IT_IS, CLIPPED, EQUAL, LOOKED_UP = range(4)
MAX_ENCODED = 20_000
MAX_TABLE = 2**22

Matrix = NDArray[np.float64]


class EncodedColumn(NamedTuple):
    """One encoded column, of a feature x.

    Attributes
    ----------
    kind
        AS_IT_IS: x, missing values included. CLIPPED: x, or `fill` if it is missing, but at least `low` and at most
        `high`. EQUAL: 1 if x is `low`, else 0; if `low` is NaN, 1 for a missing x. LOOKED_UP: value of `table` for the
        code x; the last value but one is for missing codes, the last for codes that the table does not have.
    """

    owner: int
    kind: int
    fill: float = 0.0
    low: float = 0.0
    high: float = 0.0
    table: tuple[float, ...] = ()


@compiled(
    "void(float64[:, ::1], int32[::1], int32[::1], float64[::1], float64[::1], float64[::1], int64[::1], float64[::1], "
    "float64[:, ::1])"
)
def _encode(
    matrix: Matrix,
    owner: NDArray[np.int32],
    kind: NDArray[np.int32],
    fill: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    start: NDArray[np.int64],
    table: NDArray[np.float64],
    encoded: Matrix,
) -> None:
    for row in range(matrix.shape[0]):
        for column in range(owner.size):
            x = matrix[row, owner[column]]
            if kind[column] == CLIPPED:
                known = fill[column] if x != x else x
                x = min(max(known, low[column]), high[column])
            elif kind[column] == EQUAL:
                x = 1.0 if x == low[column] or (x != x and low[column] != low[column]) else 0.0
            elif kind[column] == LOOKED_UP:
                codes = start[column + 1] - start[column] - 2
                place = codes if x != x else codes + 1
                if x >= 0.0 and x < codes:
                    place = np.int64(x)
                x = table[start[column] + place]
            encoded[row, column] = x


@dataclass(frozen=True)
class Encoding:
    """Function from features to the columns of one model; see `EncodedColumn` for the meaning of the arrays.

    Attributes
    ----------
    owner : int32, shape (m,)
        Position of the feature that an encoded column is computed from.
    kind : int32, shape (m,)
    fill, low, high : float64, shape (m,)
    start : int64, shape (m + 1,)
        First value of each column's table in `table`; the tables follow one another.
    table : float64
    features
        Number of features.
    """

    owner: NDArray[np.int32]
    kind: NDArray[np.int32]
    fill: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    start: NDArray[np.int64]
    table: NDArray[np.float64]
    features: int

    arrays: ClassVar[Mapping[str, Any]] = {
        "owner": np.int32,
        "kind": np.int32,
        "fill": np.float64,
        "low": np.float64,
        "high": np.float64,
        "start": np.int64,
        "table": np.float64,
    }

    @classmethod
    def of(cls, columns: Iterable[EncodedColumn], features: int) -> "Encoding":
        """Make the arrays of the given columns.

        Examples
        --------
        >>> columns = [EncodedColumn(0, AS_IT_IS), EncodedColumn(0, CLIPPED, fill=2.0, low=1.0, high=3.0)]
        >>> encoding = Encoding.of(columns, features=1)
        >>> encoding(np.array([[5.0], [np.nan]]))
        array([[ 5.,  3.],
               [nan,  2.]])
        """
        owner, kind, fill, low, high, tables = zip(*columns, strict=True)
        return cls(
            np.array(owner, np.int32),
            np.array(kind, np.int32),
            np.array(fill, np.float64),
            np.array(low, np.float64),
            np.array(high, np.float64),
            np.cumsum([0, *map(len, tables)], dtype=np.int64),
            np.array([value for table in tables for value in table], np.float64),
            features,
        )

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return self.owner.size

    def __call__(self, matrix: Matrix) -> Matrix:
        """Encode a feature matrix of shape (n, k); the result has shape (n, `width`)."""
        encoded = np.empty((matrix.shape[0], self.width))
        _encode(np.ascontiguousarray(matrix), *self.to_arrays().values(), encoded)
        return encoded

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` rebuilds the encoding from."""
        return {name: getattr(self, name) for name in self.arrays}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], width: int) -> "Encoding":
        """Audit and rebuild an encoding of `width` features.

        Raises
        ------
        BundleError
            If arrays differ in length; a number that is used is not finite; or a feature, kind or table is not valid.
        """
        encoding = cls(**arrays, features=width)
        columns = encoding.width
        if not 0 < columns <= MAX_ENCODED or encoding.table.size > MAX_TABLE:
            raise BundleError(f"encoding: {columns} columns, at most {MAX_ENCODED} are allowed")
        if {encoding.kind.size, encoding.fill.size, encoding.low.size, encoding.high.size} != {columns}:
            raise BundleError("encoding: the arrays differ in length")
        if ((encoding.owner < 0) | (encoding.owner >= width)).any():
            raise BundleError(f"encoding: a column is computed from a feature outside the {width} features")
        if not np.isin(encoding.kind, (AS_IT_IS, CLIPPED, EQUAL, LOOKED_UP)).all():
            raise BundleError("encoding: a column has an unknown kind")
        encoding._audit_numbers()
        return encoding

    def _audit_numbers(self) -> None:
        start = self.start
        if start.size != self.width + 1 or start[0] != 0 or start[-1] != self.table.size:
            raise BundleError("encoding: the tables do not fit the columns")
        length = np.diff(start)
        if ((length < 2) & (self.kind == LOOKED_UP)).any() or ((length != 0) & (self.kind != LOOKED_UP)).any():
            raise BundleError("encoding: a table is missing or too short")
        finite = np.isfinite(self.low) | (np.isnan(self.low) & (self.kind == EQUAL))
        if not all(x.all() for x in (finite, *map(np.isfinite, (self.fill, self.high, self.table)))):
            raise BundleError("encoding: a number is not finite")
        if (self.low > self.high)[self.kind == CLIPPED].any():
            raise BundleError("encoding: a column's lower limit is above its upper limit")


def summed_by_owner(contributions: Matrix, owner: NDArray[np.int32], width: int) -> Matrix:
    """Add up the contributions of encoded columns by feature: shape (n, m) becomes (n, `width`).

    >>> summed_by_owner(np.array([[1.0, 2.0, 4.0]]), np.array([0, 1, 0], np.int32), 3)
    array([[5., 2., 0.]])
    """
    result = np.zeros((contributions.shape[0], width))
    _add_by_owner(contributions, owner, result)
    return result


@compiled("void(float64[:, ::1], int32[::1], float64[:, ::1])")
def _add_by_owner(contributions: Matrix, owner: NDArray[np.int32], result: Matrix) -> None:
    for row in range(contributions.shape[0]):
        for column in range(owner.size):
            result[row, owner[column]] += contributions[row, column]
