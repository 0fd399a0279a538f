"""Find the target's column and its positive class: the outcome that counts as churned."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from churnops.data.cell_text import MISSING_WORDS
from churnops.discovery.facts import ColumnFacts
from churnops.discovery.levels import flag_choices
from churnops.discovery.survey import Survey
from churnops.errors import DataError
from churnops.schema import nearest
from churnops.spelling import plain

POSITIVE = (
    *("churn", "churned", "churner", "left", "leaver", "lost", "exited", "exit", "cancelled"),
    *("canceled", "closed", "terminated", "attrited", "attrited customer", "inactive", "unsubscribed", "gone"),
)
NEGATIVE = (
    *("stayed", "stay", "retained", "existing", "existing customer", "active"),
    *("current", "open", "loyal", "subscribed", "not churned", "non-churn", "no churn", "renewed"),
)
SHOWN = 6


@dataclass(frozen=True)
class TargetColumn:
    """The target's header, its outcomes (stayed, churned), their numbers, and how the second was chosen.

    Attributes
    ----------
    unknown
        Number of rows without an outcome.
    """

    header: str
    choices: tuple[str, str]
    counts: tuple[int, int]
    unknown: int
    reason: str
    check: bool

    @property
    def churn_rate(self) -> float:
        """Share of the customers with a known outcome who churned."""
        return self.counts[1] / sum(self.counts)


def find_target(survey: Survey, header: str, positive: str | None = None) -> TargetColumn:
    """Return the target of a surveyed table.

    Raises
    ------
    DataError
        If no column has this header, or its values are not two; or if `positive` is none of them.
    """
    if header in survey.repeated:
        raise DataError(f"several columns have the header {header!r}: rename all but the one with the outcome")
    facts = _column(survey.columns, header)
    levels = Counter[str]()
    spelled: dict[str, str] = {}
    for text, count in facts.levels.most_common():
        if plain(text) not in MISSING_WORDS:
            levels[spelled.setdefault(plain(text), text.strip())] += count
    if facts.many_levels or len(levels) != 2:
        raise DataError(f"column {facts.header!r} has {_values(facts, levels)}: the target needs exactly two values")
    churned, reason, certain = _positive(levels, facts.header, positive)
    stayed = next(text for text in levels if text != churned)
    counts = levels[stayed], levels[churned]
    return TargetColumn(facts.header, (stayed, churned), counts, survey.rows - levels.total(), reason, not certain)


def _column(columns: Sequence[ColumnFacts], header: str) -> ColumnFacts:
    for same in (str.__eq__, lambda a, b: a.strip().casefold() == b.strip().casefold()):
        match = [column for column in columns if same(column.header, header)]
        if len(match) == 1:
            return match[0]
    raise DataError(f"there is no column {header!r}: {nearest(header, [column.header for column in columns])}")


def _values(facts: ColumnFacts, levels: Counter[str]) -> str:
    if facts.many_levels:
        return "more than 10,000 values"
    shown = ", ".join(f"{text!r} ({count:,})" for text, count in levels.most_common(SHOWN))
    more = ", …" if len(levels) > SHOWN else ""
    return f"{len(levels)} value{'' if len(levels) == 1 else 's'}{': ' if levels else ''}{shown}{more}"


def _positive(levels: Counter[str], header: str, given: str | None) -> tuple[str, str, bool]:
    """Return the value that counts as churned, the reason, and whether it is certain."""
    if given is not None:
        given = next((text for text in levels if plain(text) == plain(given)), given)
        if given not in levels:
            values = " and ".join(map(repr, levels))
            raise DataError(f"column {header!r} has no value {given!r}: its values are {values}")
        return given, "as you said", True
    if pair := flag_choices(levels):
        return pair[1], "by its name", True
    positive = [text for text in levels if plain(text) in POSITIVE]
    negative = [text for text in levels if plain(text) in NEGATIVE]
    if len(positive) == 1:
        return positive[0], "by its name", True
    if len(negative) == 1:
        return next(text for text in levels if text != negative[0]), f"{negative[0]!r} means stayed", True
    return levels.most_common()[1][0], "it is the rarer value", False
