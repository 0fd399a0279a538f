"""Identities of a table: hashes of customers' ids and of rows' contents.

They keep a model's training rows out of its evaluation.

Needs no table library. Hashes can be stored where customers' rows may not be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from churnops.errors import DataError
from churnops.schema import Columns

Hashes = NDArray[np.uint64]

_NEGATIVE_ZERO, _INFINITY = np.uint64(1 << 63), np.uint64(0x7FF0000000000000)
_NAN = np.uint64(0x7FF8000000000000)  # the one bit pattern that stands for every NaN
_NO_ID = 0


def content_hashes(columns: Columns, names: Sequence[str]) -> Hashes:
    """Hash each row's encoded values in some columns.

    NaN equals NaN and -0.0 equals 0.0. The order of `names` matters; other columns do not. A choice is encoded as its
    place among the choices, so hashes are comparable only between Schemas with the same choices for these columns.

    The bits of each value are folded into 64 with the finalizer of SplitMix64 (Steele, Lea and Flood 2014, "Fast
    splittable pseudorandom number generators") and a constant for the column's name. Each fold is a bijection, so rows
    that differ in exactly one column never have the same hash. Other pairs of rows collide with probability 2**-64. The
    chance that one of a million rows has the hash of one of a million others is one in 18 million. Rows with equal
    hashes can be constructed, so this is no protection against the author of a table.

    Parameters
    ----------
    columns
        Encoded columns, each of shape (n,).
    names
        Names of the hashed columns, at least one.

    Returns
    -------
    Hashes, shape (n,)
        The same in every version and on every machine.

    Raises
    ------
    DataError
        If `columns` lack one of `names`; the message names the first.

    Examples
    --------
    >>> hashes = content_hashes({"minutes": np.array([0.0, -0.0, np.nan, 1.5])}, ["minutes"])
    >>> [hex(value) for value in hashes.tolist()]
    ['0x5cdfa57ed7dcc3fe', '0x5cdfa57ed7dcc3fe', '0x482d6dbacc28773b', '0x182243b6ca54a042']
    """
    if not names:
        raise ValueError("names is empty: content hashes need at least one column")
    missing = next((name for name in names if name not in columns), None)
    if missing is not None:
        raise DataError(
            f"column '{missing}' is missing, so rows cannot be compared: give a table with the columns "
            f"{', '.join(names)}"
        )
    hashes = np.zeros(columns[names[0]].shape, dtype=np.uint64)
    for name in names:
        bits = np.array(columns[name], dtype=np.float64).view(np.uint64)  # a copy
        bits[bits == _NEGATIVE_ZERO] = 0
        bits[bits & ~_NEGATIVE_ZERO > _INFINITY] = _NAN
        hashes ^= bits
        hashes += np.uint64(_hash(name))
        _mix(hashes)
    return hashes


def customer_hashes(customers: Sequence[str | None]) -> Hashes:
    """Hash customers' ids: the first 64 bits of BLAKE2b, 0 for a customer without an id.

    Hashes have no salt, so that runs can be compared. Whoever guesses an id can check it against a hash: protect
    hashes as well as ids.

    Examples
    --------
    >>> [hex(value) for value in customer_hashes(["C-1001", None, "C-1001"]).tolist()]
    ['0xe8373419fc41eebf', '0x0', '0xe8373419fc41eebf']
    """
    hashes = (_NO_ID if customer is None else _hash(customer) or 1 for customer in customers)
    return np.fromiter(hashes, dtype=np.uint64, count=len(customers))


@dataclass(frozen=True)
class Identities:
    """Hashes of the customers and rows of a table.

    Each array is sorted and has no value twice.

    Parameters
    ----------
    names
        Columns that the hashes of contents cover.
    customers
        Hashes of customers' ids.
    named, nameless
        Hashes of the contents of rows with and without an id.
    """

    names: tuple[str, ...]
    customers: Hashes
    named: Hashes
    nameless: Hashes

    def holds(self, columns: Columns, customers: Sequence[str | None]) -> NDArray[np.bool_]:
        """Return which rows of another table belong to a customer of this one.

        A row with an id matches if the id is among `customers`, or its content among `nameless`. A row without an id
        matches if its content is among `named` or `nameless`. Two ids with equal contents are two customers.

        Parameters
        ----------
        columns
            Encoded columns, each of shape (n,), among them `names`.
        customers
            Ids of the n rows; None for a row without an id.

        Returns
        -------
        NDArray[np.bool_], shape (n,)

        Raises
        ------
        DataError
            If `columns` lack one of `names`; the message names the first.

        Examples
        --------
        >>> minutes = {"minutes": np.array([1.0, 2.0, 3.0])}
        >>> identities = identify(minutes, ["ann", "bob", None], ["minutes"])
        >>> identities.holds(minutes, [None, "carl", "carl"])
        array([ True, False,  True])
        """
        ids, contents, has_id = _hashes(columns, customers, self.names)
        held = _among(contents, self.nameless)
        held[has_id] |= _among(ids[has_id], self.customers)
        held[~has_id] |= _among(contents[~has_id], self.named)
        return held

    def holds_rows(self, columns: Columns) -> NDArray[np.bool_]:
        """Return which rows of another table have the content of a row of this one, whatever their ids.

        Examples
        --------
        >>> identities = identify({"minutes": np.array([1.0, 2.0])}, ["ann", None], ["minutes"])
        >>> identities.holds_rows({"minutes": np.array([1.0, 2.0, 3.0])})
        array([ True,  True, False])
        """
        contents = content_hashes(columns, self.names)
        return _among(contents, self.named) | _among(contents, self.nameless)

    @property
    def different(self) -> int:
        """Number of rows with different contents."""
        return int(np.union1d(self.named, self.nameless).size)


def identify(columns: Columns, customers: Sequence[str | None], names: Sequence[str]) -> Identities:
    """Return the identities of a table; see `Identities.holds` and `content_hashes` for parameters and errors."""
    ids, contents, has_id = _hashes(columns, customers, names)
    return Identities(tuple(names), np.unique(ids[has_id]), np.unique(contents[has_id]), np.unique(contents[~has_id]))


def _hashes(
    columns: Columns, customers: Sequence[str | None], names: Sequence[str]
) -> tuple[Hashes, Hashes, NDArray[np.bool_]]:
    ids, contents = customer_hashes(customers), content_hashes(columns, names)
    if ids.shape != contents.shape:
        raise ValueError(f"{ids.size} customers were given for {contents.size} rows")
    return ids, contents, ids != _NO_ID


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _mix(hashes: Hashes) -> None:
    """Apply the finalizer of SplitMix64 in place."""
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)


def _among(values: Hashes, ordered: Hashes) -> NDArray[np.bool_]:
    """Return which values are in a sorted array."""
    if ordered.size == 0:
        return np.zeros(values.shape, dtype=np.bool_)
    contained: NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, values), ordered.size - 1)] == values
    return contained
