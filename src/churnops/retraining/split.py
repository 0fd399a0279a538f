"""Split of rows by time: the newest for the comparison, the next to choose a candidate, the others for fitting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.identity import Hashes, Identities, content_hashes, customer_hashes, identify
from churnops.data.time_split import MIN_OUTCOMES, Moments, enough, forward_folds
from churnops.errors import DataError
from churnops.schema import Columns
from churnops.settings import RetrainingSettings
from churnops.training.search import Fold, Weighting, stratified_folds

Mask = NDArray[np.bool_]

MAX_SHARE = 0.3
"""Largest held-out share of the production rows, and largest share of the rest for choosing a candidate."""
SCHEMES = ("all rows", "recent rows", "recency-weighted")
MIN_TO_FIT = 10
"""Minimum number of recent rows of each outcome, because a fit needs both outcomes."""
MIN_RECENT = 500
"""Minimum number of recent rows; if production has fewer rows, all of them."""


@dataclass(frozen=True)
class Table:
    """Labelled rows of the original table and of production.

    Attributes
    ----------
    columns, outcome
        n encoded rows.
    at
        Times of the predictions, in microseconds since 1970; 0 for rows of the original table.
    customers
        Ids, None for a customer without one.
    moments
        Times of all rows, those of the original table included, for a split in time; None: no gap is kept.
    """

    columns: Columns
    outcome: Mask
    at: NDArray[np.int64]
    customers: tuple[str | None, ...]
    moments: Moments | None = None

    @property
    def production(self) -> Mask:
        """Mask of the production rows."""
        return self.at > 0

    def rows(self, chosen: Mask) -> "Table":
        """Return the chosen rows, in their order."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        customers = tuple(self.customers[i] for i in np.flatnonzero(chosen))
        moments = self.moments and self.moments.rows(chosen)
        return Table(columns, self.outcome[chosen], self.at[chosen], customers, moments)

    def identities(self, names: Sequence[str]) -> Identities:
        """Return the identities of the customers, by id and by the columns `names`."""
        return identify(self.columns, self.customers, names)

    def before(self, later: Mask) -> Mask:
        """Return a mask of the rows whose outcome was known when the first of the rows `later` was predicted.

        Without `moments` these are all rows.
        """
        if self.moments is None or not later.any():
            return np.ones_like(later)
        known: Mask = self.moments.at <= self.moments.at[later].min() - self.moments.gap
        return known

    def held_by(self, identities: Identities) -> Mask:
        """Return a mask of the rows whose customers are among `identities`."""
        return identities.holds(self.columns, self.customers)


def one_row_each(table: Table, names: Sequence[str]) -> Mask:
    """Choose the newest production row of every customer, and every row of the original table.

    Customers without an id are identified by their contents. A production row without an id is left out if one with
    an id has the same contents: it is taken as the same customer, from a file without ids.
    """
    ids, contents = customer_hashes(table.customers), content_hashes(table.columns, names)
    keys = np.where(ids != 0, ids, contents)
    repeated = (ids == 0) & np.isin(contents, contents[table.production & (ids != 0)])
    kept = ~table.production
    newest_first = _newest_first(table.at, contents)
    newest_first = newest_first[(table.production & ~repeated)[newest_first]]
    _, first = np.unique(keys[newest_first], return_index=True)
    kept[newest_first[first]] = True
    return kept


@dataclass(frozen=True)
class Split:
    """Use of each row, as masks of shape (n,).

    Attributes
    ----------
    held_out
        Rows for the comparison only: the newest labelled rows of customers that the deployed model was not trained on.
    training
        Rows for fitting. Further rows of held-out customers, and those in the gap of a split in time, are in neither
        mask.
    newest
        Training rows for choosing a candidate, left out of the candidates' fits; none if an outcome is too rare.
    """

    held_out: Mask
    training: Mask
    newest: Mask
    order: NDArray[np.intp]

    @property
    def used(self) -> Mask:
        """Mask of the rows that are held out or for fitting."""
        return self.held_out | self.training

    def folds(self, table: Table, names: Sequence[str], folds: int, seed: int) -> list[Fold]:
        """Return the folds for choosing a candidate, as indices into the training rows.

        There is one fold. It scores on the newest rows, and fits on the rows of all other customers. If the newest rows
        are too few, there are `folds` folds, stratified or in time.
        """
        training, newest = table.rows(self.training), self.newest[self.training]
        if newest.any():
            return [(np.flatnonzero(_fitted(training, newest, names)), np.flatnonzero(newest))]
        if training.moments is None:
            return stratified_folds(training.outcome, folds, seed)
        return forward_folds(training.moments, training.outcome, folds, seed)

    def weightings(self, table: Table, settings: RetrainingSettings) -> dict[str, Weighting | None]:
        """Return the weights of training rows for each scheme.

        In `recent rows` only the newest rows have a weight: `recent_fraction` of the production rows, at least
        `MIN_RECENT`, and enough for `MIN_TO_FIT` rows of each outcome. In `recency-weighted` a row's weight halves with
        every k rows that are newer; k is the number of rows with a weight in `recent rows`.
        """
        place = np.empty(self.order.size, dtype=np.intp)
        place[self.order] = np.arange(self.order.size)
        place, production = place[self.training], table.production[self.training]
        outcome = table.outcome[self.training]

        def ages(rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
            """Return the number of newer rows for each of `rows`, and the number of recent rows."""
            produced, age = int(production[rows].sum()), np.argsort(np.argsort(place[rows]))
            to_fit = (np.sort(age[outcome[rows] == churned])[:MIN_TO_FIT] for churned in (True, False))
            enough = 1 + max(int(ages_to_fit[-1]) for ages_to_fit in to_fit if ages_to_fit.size)
            return age, max(round(settings.recent_fraction * produced), min(produced, MIN_RECENT), enough)

        def recent(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            age, recent_rows = ages(rows)
            return (age < recent_rows).astype(np.float64)

        def weighted(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            age, recent_rows = ages(rows)
            return np.asarray(0.5 ** (age / recent_rows))

        return dict(zip(SCHEMES, (None, recent, weighted), strict=True))


def split(table: Table, known: Mask, names: Sequence[str], settings: RetrainingSettings) -> Split:
    """Split a table by time, newest first; the hash of the contents orders rows of the same time.

    Parameters
    ----------
    known
        Shape (n,): mask of the rows whose customers the deployed model was trained on.
    names
        Columns whose values are the contents.

    Raises
    ------
    DataError
        If in a split in time too few rows are old enough for fitting.
    """
    times = table.at if table.moments is None else table.moments.at
    order = _newest_first(times, content_hashes(table.columns, names))
    production = table.production
    size = min(settings.holdout_rows, max(int(MAX_SHARE * production.sum()), 1))
    held_out = _first(order, production & ~known, size)
    training = ~held_out & ~table.held_by(table.rows(held_out).identities(names)) & table.before(held_out)
    if table.moments is not None and not enough(table.outcome[training]):
        raise DataError(
            f"too few rows with known outcomes are {table.moments.gap:g} days (journal.label_horizon) older than the "
            f"customers for the comparison: {MIN_OUTCOMES} of each outcome are needed for fitting; collect more "
            "labels, or set evaluation.split: random"
        )
    rest = production & training
    newest = _first(order, rest, min(settings.holdout_rows, int(MAX_SHARE * rest.sum())))
    parts = [newest] if table.moments is None else [newest, training & _fitted(table, newest, names)]
    if not all(enough(table.outcome[rows]) for rows in parts):
        newest = np.zeros_like(newest)
    return Split(held_out, training, newest, order)


def _fitted(table: Table, newest: Mask, names: Sequence[str]) -> Mask:
    """Choose the rows of other customers than the newest, with a gap if the table is split in time."""
    return ~newest & ~table.held_by(table.rows(newest).identities(names)) & table.before(newest)


def _newest_first(at: NDArray[np.int64] | NDArray[np.float64], contents: Hashes) -> NDArray[np.intp]:
    return np.lexsort((contents, -at))


def _first(order: NDArray[np.intp], among: Mask, size: int) -> Mask:
    chosen = np.zeros(among.shape, dtype=np.bool_)
    chosen[order[among[order]][:size]] = True
    return chosen
