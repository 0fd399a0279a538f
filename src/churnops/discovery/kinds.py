"""Decide what each column of a surveyed table is: its kind, its choices, or why it is left out."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import polars as pl

from churnops.data.cell_text import as_times
from churnops.data.column_check import MAX_INTEGER
from churnops.discovery.described import (
    MAX_CODE_LEVELS,
    UNIQUE,
    DescribedColumn,
    DescribedColumns,
    FilledColumn,
    missing_words,
)
from churnops.discovery.facts import ColumnFacts
from churnops.discovery.levels import ordered
from churnops.discovery.naming import names_of
from churnops.discovery.survey import Survey
from churnops.errors import DataError
from churnops.limits import MAX_CHOICES
from churnops.schema import MAX_MISSING_WORDS, RESERVED, DateFormat, Kind, is_marked, nearest
from churnops.settings.columns import CHOICE, RULES

MAX_TOGETHER = 50_000
"""Number of choices of all categories together: they take about 1 MB in the config file."""
LONG_LIST = 255
"""Number of levels from which a category must not be free text."""
REPEATED = 0.5
"""Share of a category's rows whose level occurs more than once, at least."""
MIN_ROWS_PER_LEVEL = 2
"""Average number of rows of a level below which numbers are no codes."""
FEW_COUNTS = 12
"""Largest number of distinct whole numbers that are counts whatever the gaps between them, such as 12, 24 and 36."""
WORDS_OF_PROSE = 4
"""Mean number of words from which texts are prose."""
MIN_IDS = 20
"""Smallest number of customers of a table with several rows of each."""
FIRST_DATE, LAST_DATE = 19_000_101, 21_001_231
"""Whole numbers between these may be dates without signs."""
_ID = re.compile(
    r"(^|_)(id|ids|uid|uuid|guid|key|account|acct|customer|client|member|subscriber|user|phone|msisdn|email|iban)"
    r"(_?(id|no|nr|num|number|key|code))?$|^(row_?)?(number|index|nr|no)?$|^(unnamed|column)_?\d*$|(^|_)row_?id"
)
_PERSON = re.compile("account|acct|customer|client|member|subscriber|user|phone|msisdn|email|iban")
_ROW_NUMBER = re.compile(r"^(row_?)?(number|index|nr|no|num)$|^(unnamed|column)_?\d*$|row_?id")
_CODE = re.compile(
    r"(^|_)(code|zip|postcode|plz|type|class|category|region|branch|segment|channel|area|store|cluster)($|_)"
)


def decide(survey: Survey, target: str, identifier: str | None = None, time: str | None = None) -> DescribedColumns:
    """Decide on every column but the target.

    Parameters
    ----------
    target, identifier, time
        Headers of the outcome, of the customer's id and of the row's time; the id is looked for if None.

    Raises
    ------
    DataError
        If no column has the header `identifier` or `time`, or the latter does not hold different times.
    """
    headers = [column.header for column in survey.columns]
    for header in (identifier, time):
        if header is not None and header not in headers:
            raise DataError(f"there is no column {header!r}: {nearest(header, headers)}")
    names = names_of(column.header for column in survey.columns)
    missing: Counter[str] = Counter()
    decided = []
    filled: dict[str, FilledColumn] = {}
    for facts in survey.columns:
        if facts.header == target:
            continue
        words = missing_words(facts)
        missing.update(words)
        column = FilledColumn(facts, names[facts.header], frozenset(words))
        filled[facts.header] = column
        if facts.header == identifier:
            decided.append(column.as_("id", "as you said"))
        else:
            decided.append(_decide_time(column) if facts.header == time else _decide(column))
    decided += [_repeated(header) for header in survey.repeated]
    one_id = next((d for d in decided if d.header == identifier), None) or _best_id(decided)
    of_rows = identifier is None and not (one_id and _PERSON.search(one_id.name))
    if time is not None and of_rows and (repeated := _id_over_time(decided, survey.sample, time)):
        one_id = filled[repeated].as_("id", "every value occurs once at each time")
        decided = [one_id if d.header == repeated else d for d in decided]
    columns = tuple(
        _without_kind(d, "identifies the customer, as another column does") if d.kind == "id" and d is not one_id else d
        for d in decided
    )
    limit = _choices_limit(columns)
    columns = tuple(_with_frequent_levels(d, filled[d.header], limit) if d.kind == "category" else d for d in columns)
    return DescribedColumns(columns, tuple(word for word, _ in missing.most_common(MAX_MISSING_WORDS)))


def _with_frequent_levels(decision: DescribedColumn, column: FilledColumn, limit: int) -> DescribedColumn:
    """Return a category with the most frequent levels as choices, at most `limit` of them."""
    if len(decision.choices) <= limit and not column.facts.many_levels:
        return decision
    levels = "more than 10,000" if column.facts.many_levels else f"{len(decision.choices):,}"
    reason = f"{levels} levels: the {limit:,} most frequent ones are its choices, and the others count as other"
    choices = ordered(level for level, _ in column.levels.most_common(limit))
    return replace(decision, choices=choices, reason=reason, check=True)


def _choices_limit(decisions: Sequence[DescribedColumn]) -> int:
    """Return the largest number of choices of a category with which all fit into `MAX_TOGETHER`."""
    limit = MAX_CHOICES
    while limit > LONG_LIST and sum(min(len(d.choices), limit) for d in decisions) > MAX_TOGETHER:
        limit //= 2
    return limit


def _repeated(header: str) -> DescribedColumn:
    reason = "is the header of several columns: rename all but one" if header.strip() else "has no header"
    return DescribedColumn(header, "", None, reason=reason, check=bool(header.strip()))


def _decide(column: FilledColumn) -> DescribedColumn:
    facts = column.facts
    if not facts.header.strip():
        return column.out("has no header")
    if not RULES["alias"].allows(facts.header):
        return column.out("has a header with control characters, or of more than 200 characters", check=True)
    if facts.header in RESERVED or is_marked([facts.header]):
        return column.out("is a column that churnops adds")
    if facts.unsupported:
        return column.out("has a type that no kind of column reads")
    if column.known == 0:
        return column.out("is empty")
    if facts.distinct is not None and facts.distinct <= MAX_CODE_LEVELS and len(column.levels) == 1:
        return column.out(f"has one value only, {next(iter(column.levels))!r}")
    if facts.times >= column.known:
        return _decide_date(column)
    if column.numeric:
        return _decide_number(column)
    return _decide_text(column)


def _decide_date(column: FilledColumn) -> DescribedColumn:
    facts = column.facts
    if facts.first_time is not None and not facts.several_times:
        return column.out(f"has one value only, {facts.first_time}")
    others = column.known - facts.iso
    if not others:
        return column.as_("date", f"dates{column.missing_note}", check=bool(column.missing))
    if max(facts.day_first, facts.month_first) < others:
        return column.out("holds dates such as 25/03/2024 and such as 03/25/2024", check=True)
    if facts.day_first != facts.month_first:
        format: DateFormat = "day_first" if facts.day_first > facts.month_first else "month_first"
        reason = f"dates with the {format.replace('_', ' ')}{column.missing_note}"
        return replace(column.as_("date", reason, check=bool(column.missing)), format=format)
    return column.out(
        "holds dates such as 05/03/2024, in which day and month can be confused: declare it with kind: date and "
        "format: day_first or month_first",
        check=True,
    )


def _decide_time(column: FilledColumn) -> DescribedColumn:
    decision = _decide(column)
    if decision.kind != "date":
        raise DataError(f"{column.facts.header!r} cannot be the time of the rows ({decision.reason})")
    reason = "the time of the row"
    if decision.nullable:
        reason += "; rows without it are left out (data.max_broken_rows)"
    return replace(decision, kind="time", reason=reason, nullable=False, check=decision.nullable)


def _decide_number(column: FilledColumn) -> DescribedColumn:
    facts = column.facts
    whole = facts.whole == facts.numbers
    if max(abs(facts.low), abs(facts.high)) > MAX_INTEGER:
        exact = column.unique and bool(_ID.search(column.name))
        return (
            column.as_("id", "every value occurs once") if exact else column.out("has numbers beyond 2^53", check=True)
        )
    if whole and facts.low >= FIRST_DATE and facts.high <= LAST_DATE and _are_dates(facts.levels):
        return column.as_("date", "dates such as 20240305")
    identifying = bool(_ID.search(column.name)) or facts.zero_first > 0
    if whole and column.unique and column.known >= 20 and (identifying or _numbers_the_rows(facts)):
        return column.as_("id", "every value occurs once")
    if len(facts.units) > 1:
        return column.out(f"mixes the units {' and '.join(map(repr, sorted(facts.units)))}", check=True)
    if (pair := column.flag) is not None:
        return column.as_("flag", f"has two values, {pair[0]!r} and {pair[1]!r}", choices=pair)
    if whole and facts.zero_first:
        return _decide_levels(column, "numbers that begin with 0 are codes")
    few = facts.distinct is not None and facts.distinct <= min(MAX_CODE_LEVELS, column.known // MIN_ROWS_PER_LEVEL)
    if whole and few and not facts.units and (_CODE.search(column.name) or _looks_like_codes(column)):
        return column.as_("category", "its numbers look like codes", choices=ordered(column.levels), check=True)
    unit = next(iter(facts.units), "")
    with_unit = f" with {unit}" if unit else ""
    reason = f"{'whole ' if whole else ''}numbers{with_unit}{column.missing_note}"
    part = 0 < facts.units[unit] < column.known
    if part:
        reason += f"; {unit} is beside {facts.units[unit] / column.known:.0%} of them"
    kind: Kind = "integer" if whole and _are_counts(facts) else "number"
    return replace(column.as_(kind, reason, check=bool(column.missing) or part), unit=unit)


def _decide_text(column: FilledColumn) -> DescribedColumn:
    facts = column.facts
    if column.unique and column.known >= 20:
        if _prose(facts):
            return column.out("is free text")
        return column.as_("id", "every value occurs once")
    if (pair := column.flag) is not None:
        return column.as_("flag", f"has two values, {pair[0]!r} and {pair[1]!r}", choices=pair)
    return _decide_levels(column, "")


def _decide_levels(column: FilledColumn, reason: str) -> DescribedColumn:
    """Decide on texts that are a category if enough rows share their level with another row."""
    facts, count = column.facts, len(column.levels)
    rare = facts.repeated_share < REPEATED
    if (rare or count > LONG_LIST) and facts.words and _prose(facts):
        return column.out("is free text")
    levels = f"{count:,}" if not facts.many_levels else "more than 10,000"
    if rare:
        share = facts.numbers / column.known
        if 0.5 < share < 1:
            return column.out(f"is a mixture of numbers ({share:.0%}) and texts", check=True)
        return column.out(f"has {levels} levels, most of them of one row: too many for a category", check=True)
    if not all(map(CHOICE.allows, column.levels)):
        return column.out("has texts with control characters, or of more than 200 characters", check=True)
    return column.as_("category", reason or f"{levels} levels", choices=ordered(column.levels))


def _are_dates(levels: Iterable[str]) -> bool:
    """Whether each text is a date such as 20240305."""
    texts = pl.Series([text.strip() for text in levels], dtype=pl.String)
    return bool(as_times(texts).is_not_null().all())


def _prose(facts: ColumnFacts) -> bool:
    words = sum(facts.words.values())
    return not words or facts.blanks + words >= WORDS_OF_PROSE * words


def _are_counts(facts: ColumnFacts) -> bool:
    """Whether whole numbers are few, or fill half of their range. Others may be amounts, and later have fractions."""
    if facts.distinct is None:
        return False
    return facts.distinct <= FEW_COUNTS or facts.high - facts.low + 1 <= 2 * facts.distinct


def _numbers_the_rows(facts: ColumnFacts) -> bool:
    """Whether unique whole numbers leave few gaps, as row numbers do."""
    return facts.high - facts.low + 1 <= 1.5 * facts.numbers


def _looks_like_codes(column: FilledColumn) -> bool:
    """Whether few whole numbers of three digits or more have gaps between all of them, such as 408, 415, 510."""
    values = sorted({int(float(text)) for text in column.levels if _is_whole(text)})
    if not 3 <= len(values) <= 12 or values[0] < 100 or values[-1] > 10 * values[0]:
        return False
    gaps = [after - before for before, after in pairwise(values)]
    return len(set(gaps)) > 1 and any(gap % 5 for gap in gaps)


def _is_whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False


def _best_id(decisions: Sequence[DescribedColumn]) -> DescribedColumn | None:
    """Return the id column: without missing values, with a header for ids, rather not a row number, the first."""
    ids = [d for d in decisions if d.kind == "id"]

    def rank(decision: DescribedColumn) -> tuple[bool, bool, bool, int]:
        named = bool(_ID.search(decision.name))
        return decision.nullable, not named, bool(_ROW_NUMBER.search(decision.name)), ids.index(decision)

    return min(ids, key=rank, default=None)


def _id_over_time(decisions: Sequence[DescribedColumn], sample: pl.DataFrame, time: str) -> str | None:
    """Return the header of an id whose values repeat, but almost never at one time."""
    for decision in decisions:
        if decision.kind in ("number", "date", "time", "id") or not _ID.search(decision.name) or not decision.name:
            continue
        pairs = sample.select(decision.header, time).drop_nulls()
        ids = pairs.get_column(decision.header).n_unique()
        if ids >= MIN_IDS and pairs.n_unique() >= UNIQUE * pairs.height:
            return decision.header
    return None


def _without_kind(decision: DescribedColumn, reason: str) -> DescribedColumn:
    return DescribedColumn(decision.header, decision.name, None, (), False, reason)
