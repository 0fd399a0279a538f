"""Contradictions between a customer's fields, such as a charge that does not fit the minutes."""

from math import isinf
from typing import NamedTuple

from churnops.api.customers import Record
from churnops.data.relation import Relation
from churnops.model import Bundle
from churnops.schema import Columns


class _LinkedPair(NamedTuple):
    determined: str
    root: str
    relation: Relation
    message: str

    def line(self, root: float) -> str:
        """Return the line on a contradiction, given the determining number."""
        return f"{self.message}: expected {_range(*self.relation.bounds(root))}, as in the training data"


class Contradictions:
    """Finds numbers that contradict the number that determines them, by the relations in the deployed model's data.

    Training finds determined columns in the table itself (`Bundle.linked`). Such a column is often optional, so a wrong
    value does not change the score, and nothing else would reveal it. The lines name values, so personal columns are
    not checked.
    """

    def __init__(self, bundle: Bundle) -> None:
        columns = bundle.schema.by_name
        self._checks = []
        for determined, root in bundle.linked.items():
            pair = columns[determined], columns[root]
            if all(column.is_number and not column.personal for column in pair):
                relation = Relation.of(bundle.reference[root], bundle.reference[determined])
                message = f"{columns[determined].full_name} contradicts {columns[root].full_name}"
                if relation is not None:
                    self._checks.append(_LinkedPair(determined, root, relation, message))

    def of(self, record: Record) -> list[str]:
        """Return a line for each contradiction of a checked customer; missing values contradict nothing."""
        lines = []
        for check in self._checks:
            value, root = record.get(check.determined), record.get(check.root)
            if value is not None and root is not None and not check.relation.allows(root, value):
                lines.append(check.line(root))
        return lines

    def of_rows(self, columns: Columns) -> dict[int, list[str]]:
        """Return the lines of encoded customers by position, for those with a contradiction."""
        lines: dict[int, list[str]] = {}
        for check in self._checks:
            if check.determined in columns and check.root in columns:
                roots = columns[check.root]
                for row in check.relation.broken_rows(roots, columns[check.determined]).tolist():
                    lines.setdefault(row, []).append(check.line(float(roots[row])))
        return lines


def _range(low: float, high: float) -> str:
    """Describe a range of values.

    >>> _range(45.07, 45.07), _range(1.0, 2.5), _range(59.76, float("inf")), _range(float("-inf"), 0.5)
    ('45.07', '1 to 2.5', 'at least 59.76', 'at most 0.5')
    """
    if isinf(low) or isinf(high):
        return f"at most {high:.6g}" if isinf(low) else f"at least {low:.6g}"
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
