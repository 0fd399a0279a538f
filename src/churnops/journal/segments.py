"""Segments of customers: levels of categories and flags beside each newest score, and conditions on them.

`newest_scores.levels` has two bytes for each column with levels, in the order of the prediction's layout. The index of
the ranking contains them, so that a query finds the customers of a segment without reading their predictions.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, LargeBinary, and_, false, func, or_, select, true

from churnops.journal.decoding import Decoded, text_of
from churnops.journal.layouts import ABSENT, NULL, Layout, LayoutColumn
from churnops.journal.stored_layouts import layouts_of
from churnops.journal.tables import layouts, newest_scores
from churnops.schema import Column
from churnops.spelling import plain, spellings

MAX_COLUMNS = 256
"""Number of columns whose levels are kept: PostgreSQL limits the bytes of an index's row."""

OTHER = -3
"""Code of a text that is no level of the layout."""

_MORE = 1  # first code of a customer with values in columns that the layout lacks; of all others 0

Where = Sequence[tuple[Column, frozenset[int]]]
"""Columns of a Schema, each with the codes of the levels that a segment has."""


class SegmentConditions(NamedTuple):
    """Conditions on `newest_scores`: those whom it may contain, and those whom it surely contains."""

    possible: ColumnElement[bool]
    sure: ColumnElement[bool]


EVERYBODY = SegmentConditions(true(), true())


def pack_levels(decoded: Decoded) -> list[bytes]:
    """Return the levels of n predictions as bytes."""
    columns, names = _with_levels(decoded.layout), {column.name for column in decoded.layout.columns}
    codes: NDArray[np.int16] = np.zeros((decoded.rows, len(columns) + 1), dtype="<i2")
    for place, column in enumerate(columns, 1):
        codes[:, place] = decoded.values[column.name]
        if others := decoded.others.get(column.name):
            codes[list(others), place] = _codes_of_texts(column, others.values())
    for name in decoded.others.keys() - names:
        codes[list(decoded.others[name]), 0] = _MORE
    return [row.tobytes() for row in codes]


def segment(connection: Connection, where: Where) -> SegmentConditions:
    """Return the conditions that find the customers of a segment, for the layouts in the journal."""
    if not where:
        return EVERYBODY
    ids = connection.execute(select(layouts.c.id)).scalars().all()
    alike: dict[tuple[_Codes, ...], list[int]] = {}  # models with the same columns have the same conditions
    for id_, layout in layouts_of(connection, ids).items():
        alike.setdefault(tuple(_codes(layout, column, wanted) for column, wanted in where), []).append(id_)
    possible: list[ColumnElement[bool]] = [false()]
    sure: list[ColumnElement[bool]] = [false()]
    for columns, members in alike.items():
        own = newest_scores.c.layout.in_(members)
        possible.append(and_(own, *(_is_in(codes, codes.sure | codes.unsure) for codes in columns)))
        sure.append(and_(own, *(_is_in(codes, codes.sure) for codes in columns)))
    return SegmentConditions(or_(*possible), or_(*sure))


class _Codes(NamedTuple):
    """Codes of a segment in a column of a layout, which is at `place` in `levels`; `every` are all that it may have.

    Of the `unsure` ones, only the prediction itself decides.
    """

    place: int
    every: frozenset[int]
    sure: frozenset[int]
    unsure: frozenset[int]


def _with_levels(layout: Layout) -> list[LayoutColumn]:
    return [column for column in layout.columns if column.kind == "level"][:MAX_COLUMNS]


def _codes_of_texts(column: LayoutColumn, values: Iterable[Any]) -> list[int]:
    """Return the code of each JSON value: of a level, whatever its spelling, or `OTHER`."""
    codes = {level: code for code, level in enumerate(column.levels)}
    known = spellings(column.levels, is_flag=False)
    texts = [text_of(value) for value in values]
    return [codes.get(text, codes.get(known.get(plain(text), text), OTHER)) for text in texts]


def _codes(layout: Layout, column: Column, wanted: frozenset[int]) -> _Codes:
    places = {own.name: place for place, own in enumerate(_with_levels(layout), 1)}
    none, more = frozenset[int](), frozenset({_MORE})
    if column.name not in places:
        is_kept = any(own.name == column.name for own in layout.columns)  # as a number, or after too many columns
        return _Codes(0, more | {0}, none, more | {0} if is_kept else more)
    place = places[column.name]
    levels = _with_levels(layout)[place - 1].levels
    sure = frozenset(code for code, level in enumerate(levels) if _code(column, level) in wanted)
    every = frozenset((NULL, ABSENT, OTHER, *range(len(levels))))
    if not column.is_open:  # has no texts but its choices
        return _Codes(place, every, sure, none)
    if set(column.choices) <= set(levels):
        return _Codes(place, every, sure | {OTHER} if column.other in wanted else sure, none)
    return _Codes(place, every, sure, frozenset({OTHER}))  # the text may be a choice that the layout lacks


def _code(column: Column, level: str) -> float | None:
    return column.codes.get(column.level(level), column.other if column.is_open else None)


def _is_in(codes: _Codes, wanted: frozenset[int]) -> ColumnElement[bool]:
    """Return the condition that a column's code is one of the wanted ones, with as few values as possible."""
    own = func.substr(newest_scores.c.levels, 2 * codes.place + 1, 2, type_=LargeBinary)
    others = codes.every - wanted
    if len(others) < len(wanted):
        return own.not_in([_bytes(code) for code in sorted(others)])
    return own.in_([_bytes(code) for code in sorted(wanted)])


def _bytes(code: int) -> bytes:
    return code.to_bytes(2, "little", signed=True)
