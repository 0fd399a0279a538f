"""World of the demonstration: the customers who arrive, the rule by which they leave, and its change.

Customers come from rows of the telecom table that the first model is not trained on. Only the rule changes, not the
customers, so inputs do not reveal the change: only outcomes do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from churnops.api.customers import CustomerForm
from churnops.data.read import encode, outcomes, read_table
from churnops.data.validate import check_customers
from churnops.schema import Columns, Schema

RATES: Final = {"day": 0.17, "eve": 0.085, "night": 0.045, "intl": 0.27}
"""Price of a minute, the same for every customer."""
HIGH_BILL: Final = 74.04
"""Bill above which customers without voice mail leave in the old world, as all 133 of the table's do."""
JITTER: Final = 5
"""Largest difference, in tenths of a minute, between a customer's minutes and those of the row."""


@dataclass(frozen=True)
class Customer:
    """A new customer: the document for the API, with an id, and the outcome."""

    document: Mapping[str, Any]
    churned: bool

    @property
    def id(self) -> str:
        """The customer's id."""
        return str(self.document["customer_id"])


@dataclass(frozen=True)
class NewOutcomes:
    """Outcome of each row in the old and in the new world; True if the customer leaves."""

    old: NDArray[np.bool_]
    new: NDArray[np.bool_]


def bill(columns: Columns) -> NDArray[np.float64]:
    """Return each customer's monthly bill."""
    total = np.zeros_like(columns["total_day_minutes"])
    for part, rate in RATES.items():
        total += rate * columns[f"total_{part}_minutes"]
    return total


def reverse_bill_rule(columns: Columns, churned: NDArray[np.bool_]) -> NewOutcomes:
    """Return the outcomes before and after the change.

    Before, customers without voice mail leave if their bill is above `HIGH_BILL`. After, these customers stay, and as
    many customers without voice mail leave whose bills are the lowest. Other outcomes do not change.

    Examples
    --------
    >>> minutes = {f"total_{part}_minutes": np.zeros(4) for part in RATES}
    >>> minutes["total_day_minutes"] = np.array([500.0, 500.0, 300.0, 100.0])  # bills of 85, 85, 51 and 17
    >>> columns = minutes | {"voice_mail_plan": np.array([0.0, 1.0, 0.0, 0.0])}
    >>> reverse_bill_rule(columns, np.array([True, False, False, False])).new
    array([False, False, False,  True])
    """
    bills, without = bill(columns), columns["voice_mail_plan"] == 0.0
    high = without & (bills > HIGH_BILL)
    ordered = np.argsort(bills, kind="stable")
    lowest = ordered[without[ordered]][: int(high.sum())]
    new = churned & ~high
    new[lowest] = True
    return NewOutcomes(churned, new)


class World:
    """Draws customers one after another. Every one is new: no row is drawn twice with the same minutes.

    The rows are split into three parts, the first of which is half of them. After each new model, customers come from
    the next part, so the model cannot have been trained on similar ones, which would flatter its ROC-AUC. Each part is
    drawn from in shuffled rounds, so consecutive customers come from different rows.

    Parameters
    ----------
    sources
        Tables with outcomes: the rows to draw from.
    drift
        Share, in [0, 1], of later customers that follow the new rule; 0: nothing changes.
    seed
        The same seed and the same calls give the same customers.

    Raises
    ------
    ValidationError
        If a table breaks the Schema.
    """

    def __init__(self, sources: Sequence[Path], schema: Schema, *, drift: float, seed: int) -> None:
        tables = [check_customers(read_table(path), schema, path.name, keep_outcome=True) for path in sources]
        encoded = [encode(table, schema) for table in tables]
        self.columns: Columns = {name: np.concatenate([one[name] for one in encoded]) for name in encoded[0]}
        churned = np.concatenate([outcomes(table, schema) for table in tables])
        self.outcomes = reverse_bill_rule(self.columns, churned == 1.0)
        self._drift = drift
        self._form = CustomerForm(schema)
        self._arrived = 0
        self._generator = np.random.default_rng(seed)
        self._seen: set[tuple[float, ...]] = set()
        self._rounds = [_rounds(part, self._generator) for part in self._parts()]

    def arrive(self, *, changed: bool = False, part: int = 0) -> Customer:
        """Return the next customer, before or after the change, from a part of the rows."""
        row = next(self._rounds[min(part, len(self._rounds) - 1)])
        new = changed and bool(self._generator.random() < self._drift)
        churned = (self.outcomes.new if new else self.outcomes.old)[row]
        self._arrived += 1
        minutes = self._minutes(row)
        charges = {f"total_{part}_charge": round(RATES[part] * minutes[f"total_{part}_minutes"], 2) for part in RATES}
        document = self._form.example(self.columns, row) | minutes | charges
        return Customer(document | {"customer_id": f"C-{self._arrived:06d}"}, bool(churned))

    def arrivals(self, count: int, *, changed: bool = False, part: int = 0) -> list[Customer]:
        """Return the next `count` customers."""
        return [self.arrive(changed=changed, part=part) for _ in range(count)]

    def _parts(self) -> tuple[NDArray[np.intp], ...]:
        """Split the rows at random, stratified by the outcomes before and after the change."""
        kind = 2 * self.outcomes.old.astype(np.intp) + self.outcomes.new
        shuffled = self._generator.permutation(kind.size)
        ordered = shuffled[np.argsort(kind[shuffled], kind="stable")]
        return ordered[::2], ordered[1::4], ordered[3::4]

    def _minutes(self, row: int) -> dict[str, float]:
        """Return minutes that no earlier customer of this row had."""
        names = tuple(f"total_{part}_minutes" for part in RATES)
        while True:
            moved = self._generator.integers(-JITTER, JITTER, len(names), endpoint=True)
            values = tuple(
                round(max(self.columns[name][row] + tenths / 10, 0.0), 1)
                for name, tenths in zip(names, moved.tolist(), strict=True)
            )
            own = tuple(float(self.columns[name][row]) for name in names)
            key = (float(row), *values)
            if values != own and key not in self._seen:
                self._seen.add(key)
                return dict(zip(names, values, strict=True))


def _rounds(rows: NDArray[np.intp], generator: np.random.Generator) -> Iterator[int]:
    """Yield all rows in a random order, again and again."""
    while True:
        yield from generator.permutation(rows).tolist()
