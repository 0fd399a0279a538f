"""Which rows are for what: the newest for the comparison, those before for choosing a candidate, others for fitting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.identity import Hashes, Identities, content_hashes, customer_hashes, identify
from churnops.schema import Columns
from churnops.settings import RetrainingSettings
from churnops.training.search import Fold, Weighting, stratified_folds

Mask = NDArray[np.bool_]

MAX_SHARE = 0.3
"""Of the production rows at most this much is held out, and of those left as much is for choosing."""
SCHEMES = ("all rows", "recent rows", "recency-weighted")
MIN_TO_CHOOSE = 10
"""Rows of each outcome needed to choose a candidate on the newest rows; with fewer, folds of all rows do it."""
MIN_TO_FIT = 10
"""Rows of each outcome that count as recent: a model of one outcome cannot be fitted."""
MIN_RECENT = 500
"""Rows below which "recent" is not narrowed further: a model of fewer learns little."""


@dataclass(frozen=True)
class Table:
    """Labelled rows: the original table, which is older than everything, and production.

    Attributes
    ----------
    columns, outcome
        n encoded rows.
    at
        When they were predicted, microseconds since 1970; 0 for rows of the original table.
    customers
        Their ids, None where there is none.
    """

    columns: Columns
    outcome: Mask
    at: NDArray[np.int64]
    customers: tuple[str | None, ...]

    @property
    def production(self) -> Mask:
        """Which rows came through production."""
        return self.at > 0

    def rows(self, chosen: Mask) -> "Table":
        """Return the chosen rows, in their order."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        customers = tuple(self.customers[i] for i in np.flatnonzero(chosen))
        return Table(columns, self.outcome[chosen], self.at[chosen], customers)

    def identities(self, names: Sequence[str]) -> Identities:
        """Say who is in it, by the columns `names`."""
        return identify(self.columns, self.customers, names)

    def held_by(self, identities: Identities) -> Mask:
        """Say which rows are of somebody among `identities`."""
        return identities.holds(self.columns, self.customers)


def one_row_each(table: Table, names: Sequence[str]) -> Mask:
    """Choose the newest production row of every customer, and every row of the original table.

    Customers without an id are told apart by their contents. A row without one that is the same as a row with one is
    left out: the same customers came in a file without ids, and would count twice.
    """
    ids, contents = customer_hashes(table.customers), content_hashes(table.columns, names)
    who = np.where(ids != 0, ids, contents)
    again = (ids == 0) & np.isin(contents, contents[table.production & (ids != 0)])
    kept = ~table.production
    newest_first = _newest_first(table.at, contents)
    newest_first = newest_first[(table.production & ~again)[newest_first]]
    _, first = np.unique(who[newest_first], return_index=True)
    kept[newest_first[first]] = True
    return kept


@dataclass(frozen=True)
class Split:
    """What each row is for; masks of shape (n,), of rows that have one use each.

    Attributes
    ----------
    held_out
        The newest labelled rows whose customers the model in production was not trained on: for the comparison alone.
    training
        For fitting. Rows of customers who are held out are in neither.
    newest
        Of the training rows those that candidates are chosen on, which their fits have not seen; none if there are too
        few of either outcome.
    """

    held_out: Mask
    training: Mask
    newest: Mask
    order: NDArray[np.intp]

    def folds(self, table: Table, names: Sequence[str], folds: int, seed: int) -> list[Fold]:
        """Return what candidates are chosen by, as indices into the training rows.

        That is one fold, the newest against the others (without their customers), or stratified folds where the newest
        are too few.
        """
        training, newest = table.rows(self.training), self.newest[self.training]
        if not newest.any():
            return stratified_folds(training.outcome, folds, seed)
        leaving = training.held_by(training.rows(newest).identities(names))
        return [(np.flatnonzero(~leaving & ~newest), np.flatnonzero(newest))]

    def weightings(self, table: Table, settings: RetrainingSettings) -> dict[str, Weighting | None]:
        """Return how much rows that a model is fitted to count, by the name of the scheme.

        Of `recent rows` only the newest count: `recent_fraction` of the production rows, at least `MIN_RECENT` of them;
        and so many more, those of the original table if need be, that `MIN_TO_FIT` have either outcome. In
        `recency-weighted` a row counts half as much as one that has as many fewer newer rows as that.
        """
        place = np.empty(self.order.size, dtype=np.intp)
        place[self.order] = np.arange(self.order.size)
        place, production = place[self.training], table.production[self.training]
        outcome = table.outcome[self.training]

        def ages(rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
            """Return how many of `rows` are newer than each, and how many of them are recent."""
            came, age = int(production[rows].sum()), np.argsort(np.argsort(place[rows]))
            of_each = (np.sort(age[outcome[rows] == left])[:MIN_TO_FIT] for left in (True, False))
            enough = 1 + max(int(newest[-1]) for newest in of_each if newest.size)
            return age, max(round(settings.recent_fraction * came), min(came, MIN_RECENT), enough)

        def recent(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            age, newest = ages(rows)
            return (age < newest).astype(np.float64)

        def weighted(rows: NDArray[np.intp]) -> NDArray[np.float64]:
            age, newest = ages(rows)
            return np.asarray(0.5 ** (age / newest))

        return dict(zip(SCHEMES, (None, recent, weighted), strict=True))


def split(table: Table, known: Mask, names: Sequence[str], settings: RetrainingSettings) -> Split:
    """Split a table by time, newest first; among rows of one time by their contents' hash, so in no order of files.

    Parameters
    ----------
    known
        Shape (n,): rows of somebody whom the model in production was trained on.
    names
        Columns that contents are compared by.
    """
    order = _newest_first(table.at, content_hashes(table.columns, names))
    production = table.production
    size = min(settings.holdout_rows, max(int(MAX_SHARE * production.sum()), 1))
    held_out = _first(order, production & ~known, size)
    training = ~held_out & ~table.held_by(table.rows(held_out).identities(names))
    left = production & training
    newest = _first(order, left, min(settings.holdout_rows, int(MAX_SHARE * left.sum())))
    if min(int((table.outcome & newest).sum()), int((~table.outcome & newest).sum())) < MIN_TO_CHOOSE:
        newest = np.zeros_like(newest)
    return Split(held_out, training, newest, order)


def _newest_first(at: NDArray[np.int64], contents: Hashes) -> NDArray[np.intp]:
    return np.lexsort((contents, -at))


def _first(order: NDArray[np.intp], among: Mask, size: int) -> Mask:
    chosen = np.zeros(among.shape, dtype=np.bool_)
    chosen[order[among[order]][:size]] = True
    return chosen
