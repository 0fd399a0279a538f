"""Layout of records whose Schema is not known, from the records themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from churnops.journal.layouts import Kind, Layout, LayoutColumn, exact_days

MAX_LEVELS = 1_000
"""Number of levels of a column; rows with further levels keep theirs as JSON."""

MAX_FEATURES = 65_536


@dataclass
class _Seen:
    """Values of one column: numbers of values by type, different texts, and whether all texts are dates."""

    counts: dict[type, int] = field(default_factory=lambda: {float: 0, int: 0, str: 0})
    levels: dict[str, None] = field(default_factory=dict)
    dates: bool = True

    def add(self, value: Any) -> None:
        kind = type(value)
        if kind not in self.counts:
            return
        self.counts[kind] += 1
        if kind is str and value not in self.levels:
            self.dates = self.dates and exact_days(value) is not None
            if len(self.levels) < MAX_LEVELS:
                self.levels[value] = None

    def column(self, name: str) -> LayoutColumn:
        kind = max(self.counts, key=self.counts.__getitem__)
        if kind is str and not self.dates:
            return LayoutColumn(name, "level", tuple(sorted(self.levels)))
        kinds: dict[type, Kind] = {float: "number", int: "integer", str: "date"}
        return LayoutColumn(name, kinds[kind])


class GuessedLayout:
    """Collects the columns of records, and the features of their reasons. Memory does not grow with the rows.

    Examples
    --------
    >>> guess = GuessedLayout()
    >>> guess.add({"minutes": 3.5, "plan": "Yes"}, None)
    >>> guess.add({"minutes": None, "plan": "No"}, None)
    >>> [tuple(column) for column in guess.layout("v1", "f" * 64, None, None).columns]
    [('minutes', 'number', ()), ('plan', 'level', ('No', 'Yes'))]
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Seen] = {}
        self._features: dict[str, None] = {}

    def add(self, record: Mapping[str, Any], reasons: Sequence[Any] | None) -> None:
        """Add a record and its reasons, as JSON values."""
        for name, value in record.items():
            seen = self._columns.get(name)
            if seen is None:
                seen = self._columns[name] = _Seen()
            seen.add(value)
        for reason in reasons or ():
            feature = reason.get("feature") if isinstance(reason, dict) else None
            if isinstance(feature, str) and len(self._features) < MAX_FEATURES:
                self._features[feature] = None

    def layout(
        self, model_version: str, content_sha256: str, base_value: float | None, explanation_scale: str | None
    ) -> Layout:
        """Return the layout of the records that were added."""
        columns = tuple(seen.column(name) for name, seen in self._columns.items())
        return Layout(model_version, content_sha256, base_value, explanation_scale, columns, tuple(self._features))
