"""Descriptions of columns, and the facts from which they are decided."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from churnops.data.cell_text import MISSING_WORDS
from churnops.discovery.facts import ColumnFacts
from churnops.discovery.levels import flag_choices
from churnops.schema import DateFormat, Kind
from churnops.spelling import plain

MAX_CODE_LEVELS = 100
"""Largest number of levels of numbers that are codes."""
FEW_LEVELS = 12
"""Largest number of levels of numbers among which a text with a digit is a level, not a missing value."""
MAX_MISSING_IN_NUMBERS = 3
"""Largest number of distinct words in a column of numbers or dates that count as missing values."""
UNIQUE = 0.999
"""Share of distinct values from which a column identifies the customer."""
MISSING_LEVELS = frozenset(MISSING_WORDS) - {"none", "nil"}
"""Words that also mean a missing value among the levels of a category. "None" may be a level: no contract."""


@dataclass(frozen=True)
class DescribedColumn:
    """Kind of a column, or the reason why it is left out.

    Attributes
    ----------
    name
        snake_case name.
    kind
        Kind, or None if the column is left out.
    choices
        Choices of a category, flag or target.
    nullable
        Whether cells are empty.
    reason
        Why it has this kind, or why it is left out; for people.
    check
        Whether a person should look at the decision.
    format
        Order of day and month of a date.
    unit
        Unit that stands beside a number in the files.
    """

    header: str
    name: str
    kind: Kind | None
    choices: tuple[str, ...] = ()
    nullable: bool = False
    reason: str = ""
    check: bool = False
    format: DateFormat = "iso"
    unit: str = ""

    @property
    def is_input(self) -> bool:
        """Whether a model may use the column."""
        return self.kind not in (None, "id", "time")


@dataclass(frozen=True)
class DescribedColumns:
    """Descriptions of all columns but the target, and the texts that mean a missing value."""

    columns: tuple[DescribedColumn, ...]
    missing: tuple[str, ...]


def missing_words(facts: ColumnFacts) -> list[str]:
    """Return the texts of a column that mean a missing value, as they are written."""
    if facts.times * 2 >= facts.filled > 0:
        return _few_or_standard([text.strip() for text in facts.no_times])
    if facts.many_words or not facts.words:
        return []
    known = [text.strip() for text in facts.words]
    standard = [text for text in known if text.lower() in MISSING_WORDS]
    if facts.numbers * 2 < facts.filled:  # mostly words
        return [text for text in standard if text.lower() in MISSING_LEVELS]
    is_category = not facts.many_levels and len(facts.levels) <= FEW_LEVELS
    if is_category and any(character.isdigit() for text in known for character in text):
        return standard  # such as ">4" beside 1 to 4
    return _few_or_standard(known)


def _few_or_standard(words: list[str]) -> list[str]:
    """Return words in a column of numbers or dates that mean a missing value: all, or many words' standard ones."""
    standard = [text for text in words if text.lower() in MISSING_WORDS]
    return words if len(set(words) - set(standard)) <= MAX_MISSING_IN_NUMBERS else standard


@dataclass(frozen=True)
class FilledColumn:
    """Facts on a column, with the texts that mean a missing value taken out."""

    facts: ColumnFacts
    name: str
    missing: frozenset[str]

    @cached_property
    def levels(self) -> Counter[str]:
        """Count of each level, under its most frequent spelling."""
        levels: Counter[str] = Counter()
        spelled: dict[str, str] = {}
        for text, count in self.facts.levels.items():
            if text.strip() not in self.missing:
                levels[spelled.setdefault(plain(text), text.strip())] += count
        return levels

    @property
    def flag(self) -> tuple[str, str] | None:
        """The choices if the values are words for no and yes."""
        few = self.facts.distinct is not None and self.facts.distinct <= MAX_CODE_LEVELS
        return flag_choices(self.levels) if few and len(self.levels) == 2 else None

    @property
    def absent(self) -> int:
        """Number of missing values."""
        words = self.facts.no_times if self.facts.many_words else self.facts.words
        return self.facts.empty + sum(n for t, n in words.items() if t.strip() in self.missing)

    @property
    def known(self) -> int:
        """Number of values that are not missing."""
        return self.facts.rows - self.absent

    @property
    def unique(self) -> bool:
        """Whether almost every value occurs once."""
        if self.facts.distinct is not None:
            return self.facts.distinct - len(self.missing) >= UNIQUE * self.known
        return self.facts.repeats <= (1 - UNIQUE) * self.known

    @property
    def numeric(self) -> bool:
        """Whether every known value is a number."""
        return self.known > 0 and self.facts.numbers == self.known

    @property
    def missing_note(self) -> str:
        """The end of a reason: the texts that mean a missing value; empty if there are none."""
        return f"; {', '.join(sorted(map(repr, self.missing)))} means missing" if self.missing else ""

    def as_(self, kind: Kind, reason: str, *, choices: tuple[str, ...] = (), check: bool = False) -> DescribedColumn:
        """Return the column with a kind."""
        return DescribedColumn(self.facts.header, self.name, kind, choices, self.absent > 0, reason, check)

    def out(self, reason: str, *, check: bool = False) -> DescribedColumn:
        """Return the column as one that is left out."""
        return DescribedColumn(self.facts.header, self.name, None, (), False, reason, check)
