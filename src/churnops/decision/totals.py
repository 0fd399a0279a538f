"""Totals over overlapping groups of customers, with intervals that hold for all groups at once."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 2000


@dataclass(frozen=True)
class Totals:
    """Total of a number over each of k groups of customers.

    Attributes
    ----------
    value
        Totals, shape (k,).
    errors
        Draws of the totals' errors: what other customers of the same kind would bring more, shape (`DRAWS`, k).
    confidence
        Confidence of the intervals.
    """

    value: Floats
    errors: Floats
    confidence: float

    @classmethod
    def of(
        cls, number: Floats, cell: NDArray[np.integer[Any]], groups: NDArray[np.bool_], *, confidence: float, seed: int
    ) -> Self:
        """Add up a number of each customer.

        Parameters
        ----------
        number, cell
            The number of each customer, and the cell that the customer is in, shape (n,).
        groups
            The cells of each group, shape (k, cells). A group is made of whole cells, so time and memory of the
            intervals depend on the number of cells only.

        Notes
        -----
        The covariance of the totals of n drawn customers is sum(x_i y_i) - sum(x_i) sum(y_i) / n. Errors are drawn
        from the normal distribution with this covariance. Intervals are as wide as the largest of all standardised
        errors needs: the sup-t band of Montiel Olea and Plagborg-Møller, *Journal of Applied Econometrics* 34 (2019)
        1-17.

        Examples
        --------
        >>> groups = np.array([[True, False], [True, True]])
        >>> made = Totals.of(np.array([1.0, 2.0, 4.0]), np.array([0, 0, 1]), groups, confidence=0.95, seed=1)
        >>> made.value
        array([3., 7.])
        """
        total, squares = (np.bincount(cell, weights, groups.shape[1]) for weights in (number, number**2))
        draws = np.random.default_rng(seed).standard_normal((DRAWS, groups.shape[1])) * np.sqrt(squares)
        mean = total / np.sqrt(number.size)
        weight = np.divide(mean, squares, out=np.zeros(mean.size), where=squares > 0)
        share = min(float((mean * weight).sum()), 1.0)
        if share > 0:  # the part of the covariance that is subtracted
            draws -= ((draws * weight).sum(axis=1) * (1 - np.sqrt(1 - share)) / share)[:, None] * mean
        # Not `@`: on a busy machine BLAS threads wait for each other.
        errors = np.einsum("rc,kc->rk", draws, groups.astype(np.float64))
        return cls(np.where(groups, total, 0.0).sum(axis=1), errors, confidence)

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """Ends of the intervals, each of shape (k,). With this confidence all of them are right at once."""
        spread = self.errors.std(axis=0)
        certain = spread <= 1e-9 * spread.max(initial=0.0)
        standard = np.abs(self.errors) / np.where(certain, np.inf, spread)
        width = np.quantile(standard.max(axis=1), self.confidence) * np.where(certain, 0.0, spread)
        return self.value - width, self.value + width

    def over(self, group: int) -> Self:
        """Return the differences of all totals from that of one group."""
        return type(self)(self.value - self.value[group], self.errors - self.errors[:, group, None], self.confidence)

    def optimism(self, best: int) -> float:
        """Return by how much the largest total, picked on these customers, is too large on average.

        In each draw, the total that is the largest there is compared with its value on all customers (Harrell, Lee and
        Mark, *Statistics in Medicine* 15 (1996) 361-387).
        """
        rows, own = np.arange(len(self.errors)), (self.value + self.errors).argmax(axis=1)
        return float((self.errors[rows, own] - self.errors[:, best]).mean())
