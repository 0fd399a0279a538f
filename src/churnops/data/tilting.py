"""Shift the means of columns by drawing other rows of the table, so that no combination of values is invented.

Rows are weighted by exp(strengths · values). Of all distributions with the target means, this one has the smallest
Kullback-Leibler divergence from the table (exponential tilting; Csiszár, Annals of Probability 3 (1975) 146-158). A row
is exchanged for the row at the same quantile of the weighted table, so that the order of customers is kept.
"""

import numpy as np
from numpy.typing import NDArray

MIN_SHARE, MIN_ROWS = 0.05, 20
"""Smallest effective sample size of the weighted table (Kish), as a share and as a number of rows."""
RIDGE = 1e-3
"""Penalty that allows a compromise between incompatible means. It costs a shift about a thousandth of its size."""
STEPS, HALVINGS = 50, 12  # limits of Newton's steps, and of the bisection that makes a shift smaller
ENOUGH = 1e-10  # Newton's method ends if the next step would lower the dual by less

Values = NDArray[np.float64]
Rows = NDArray[np.intp]


def tilted_rows(values: Values, strata: Rows, chosen: Rows, shifts: Values, generator: np.random.Generator) -> Rows:
    """Exchange rows so that the means of some columns move.

    Parameters
    ----------
    values
        Shape (n, k): k columns of the table in standard deviations; a missing value is 0.
    strata
        Shape (n,): numbers from 0; a row is exchanged for one of its own stratum.
    chosen
        Rows to be exchanged, shape (m,).
    shifts
        Target shift of each mean, shape (k,). A mean moves less if the table has too few suitable rows.

    Returns
    -------
    numpy.ndarray
        Shape (m,): the rows in place of `chosen`.

    Examples
    --------
    >>> values = np.linspace(-1.7, 1.7, 1001)[:, None]
    >>> rows = np.arange(1001)
    >>> moved = tilted_rows(values, np.zeros_like(rows), rows, np.array([0.5]), np.random.default_rng(0))
    >>> round(float(values[moved].mean()), 2)
    0.5
    """
    table = _Strata(values, strata, chosen)
    score = values[table.rows] @ table.strengths(shifts)
    order = np.lexsort((score, table.number))  # by stratum, then by score; equal scores in their order
    rows = table.rows[order]
    weights = table.weights(score)[order]
    upper = np.concatenate([[0.0], np.cumsum(weights)])
    begin, end = table.start, np.append(table.start[1:], rows.size)
    place = np.empty(strata.size, np.intp)
    place[rows] = np.arange(rows.size)
    stratum = np.searchsorted(table.names, strata[chosen])
    first, last = begin[stratum], end[stratum]
    share = (place[chosen] - first + generator.random(chosen.size)) / (last - first)
    reached = upper[first] + share * (upper[last] - upper[first])
    places = np.searchsorted(upper, reached, side="right") - 1
    moved: Rows = rows[places.clip(first, last - 1)]
    return moved


def near_rows(values: Values, strata: Rows, rows: Rows, targets: Values, generator: np.random.Generator) -> Rows:
    """Exchange each row for a row of its stratum with the nearest value above or below the row's target.

    Above or below is drawn so that the expected value is the target, if the target lies within the stratum's values.

    Parameters
    ----------
    values
        Shape (n,): the column; a row with NaN never replaces another.
    strata
        As for `tilted_rows`.
    rows, targets
        Shape (m,): rows to be exchanged, and the target value of each; a row with the target NaN stays.
    """
    moved = rows.copy()
    chance, tie = generator.random(rows.size), generator.random(rows.size)
    for stratum in np.unique(strata[rows]):
        part = np.flatnonzero((strata == stratum) & ~np.isnan(values))
        members = np.flatnonzero((strata[rows] == stratum) & ~np.isnan(targets))
        if not part.size or not members.size:
            continue
        part = part[np.argsort(values[part], kind="stable")]
        distinct, first = np.unique(values[part], return_index=True)
        above = np.searchsorted(distinct, targets[members]).clip(0, distinct.size - 1)
        below = np.maximum(above - 1, 0)
        gap = distinct[above] - distinct[below]
        up = chance[members] * gap < targets[members] - distinct[below]
        level = np.where(up | (gap == 0), above, below)
        last = np.append(first[1:], part.size)
        place = first[level] + (tie[members] * (last - first)[level]).astype(np.intp)
        same = distinct[level] == values[rows[members]]
        moved[members] = np.where(same, rows[members], part[place])
    return moved


class _Strata:
    """Rows of the table by stratum. Only strata of chosen rows are kept, weighted by the number of chosen rows.

    `rows` are sorted by stratum; `number` is each row's stratum, from 0; `start` is the first row of each stratum.
    """

    def __init__(self, values: Values, strata: Rows, chosen: Rows) -> None:
        self.names, counts = np.unique(strata[chosen], return_counts=True)
        self.share = counts / chosen.size
        self.rows = np.flatnonzero(np.isin(strata, self.names))
        self.rows = self.rows[np.argsort(strata[self.rows], kind="stable")]
        self.number = np.searchsorted(self.names, strata[self.rows])
        self.start = np.flatnonzero(np.diff(self.number, prepend=-1))
        self.size = np.diff(self.start, append=self.rows.size)
        self._values = values[self.rows]

    def strengths(self, shifts: Values) -> Values:
        """Return strengths that move the means by `shifts`, or by less if a few rows would have most of the weight."""
        floor = min(1.0, max(MIN_SHARE, MIN_ROWS / self.rows.size))
        strengths = self._solved(shifts)
        if self._effective(strengths) >= floor:
            return strengths
        enough, reached, far = np.zeros_like(shifts), 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (reached + far) / 2
            strengths = self._solved(middle * shifts)
            if self._effective(strengths) >= floor:
                enough, reached = strengths, middle
            else:
                far = middle
        return enough

    def weights(self, score: Values) -> Values:
        """Return the rows' weights; the largest of each stratum is 1."""
        weights: Values = np.exp(score - np.maximum.reduceat(score, self.start)[self.number])
        return weights

    def _solved(self, shifts: Values) -> Values:
        """Minimise the convex dual by Newton's method with halved steps."""
        target = (self.share / self.size) @ np.add.reduceat(self._values, self.start) + shifts
        strengths = np.zeros_like(shifts)
        value, gradient, curvature = self._dual(strengths, target)
        for _ in range(STEPS):
            step = np.linalg.solve(curvature, gradient)
            fall, size = float(gradient @ step), 1.0
            if fall < ENOUGH:
                break
            while size > 1e-6:
                tried = strengths - size * step
                after = self._dual(tried, target)
                if after[0] <= value - 1e-4 * size * fall:
                    break
                size /= 2
            else:
                break
            strengths, (value, gradient, curvature) = tried, after
        return strengths

    def _dual(self, strengths: Values, target: Values) -> tuple[float, Values, Values]:
        score = self._values @ strengths
        weights, total = self._totals(score)
        means = np.add.reduceat(self._values * weights[:, None], self.start) / total[:, None]
        highest = np.maximum.reduceat(score, self.start)
        value = float(self.share @ (highest + np.log(total / self.size)) + strengths @ (RIDGE / 2 * strengths - target))
        gradient = self.share @ means + RIDGE * strengths - target
        squares = (self._values * (weights * (self.share / total)[self.number])[:, None]).T @ self._values
        curvature = squares - (means * self.share[:, None]).T @ means + RIDGE * np.eye(strengths.size)
        return value, gradient, curvature

    def _totals(self, score: Values) -> tuple[Values, Values]:
        weights = self.weights(score)
        return weights, np.add.reduceat(weights, self.start)

    def _effective(self, strengths: Values) -> float:
        """Return the effective sample size as a share of the rows: the mean over the strata."""
        weights, total = self._totals(self._values @ strengths)
        return float(self.share @ (total**2 / np.add.reduceat(weights**2, self.start) / self.size))
