"""Fields of the request model: the type, default and description of each column, by its kind."""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from churnops.dates import days_of
from churnops.schema import ID_PATTERN, MAX_ID_LENGTH, SEEN_PATTERN, Column, is_blank
from churnops.words import heading, title

_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_WHOLE = 2**53  # the largest range in which a float64 holds every whole number
MAX_DATE_LENGTH = 40  # characters
MAX_DIGITS = 18  # limit for a choice that a client may also send as a number


def field_of(column: Column, missing: Collection[str]) -> Any:
    """Return the type and default of a column's field; `missing` as in the Schema."""
    kind: Any = _open_category(column) if column.is_open else _KINDS[column.kind](column)
    if column.nullable:
        kind = kind | None
    if column.is_open:
        kind = Annotated[kind, BeforeValidator(_level_reader(column, missing))]
    inputs = ("number", "integer", "category", "flag", "date")
    required = column.required and not column.nullable and column.kind in inputs
    described = " ".join(part for part in (column.description, _also(column)) if part)
    shown = heading(title(column), column.unit) if column.label or column.unit else None
    default = ... if required else None
    return kind, Field(default=default, title=shown, description=described or None, alias=column.name)


def _also(column: Column) -> str:
    """Describe what a field accepts beside its type in the document, which is one type, as generated clients need."""
    also = [f"as '{column.alias}'"] if column.alias else []
    also += ["as a date with a time"] if column.kind == "date" else []
    also += ["as true or false"] if column.kind == "flag" else []
    also += ["as a number"] if _numbers(column) else []
    notes = [f"also accepted {', '.join(also)}"] if also else []
    notes += ["another level is scored as other"] if column.is_open else []
    return f"({'; '.join(notes)})" if notes else ""


def _numbers(column: Column) -> dict[int, str]:
    """Return the choices that consist of digits by their numbers."""
    decimal = (choice for choice in column.choices if choice.isdecimal() and len(choice) < MAX_DIGITS)
    return {int(choice): choice for choice in decimal if str(int(choice)) == choice}


def _distinct(choices: Sequence[str]) -> dict[str, list[str]]:
    """Return names of choices for generated clients, if choices differ in case and signs only, as 'a b' and 'A-b'."""
    plain = [re.sub(r"[\W_]+", "", choice).upper() for choice in choices]
    if len(set(plain)) == len(plain):
        return {}
    return {"x-enum-varnames": [f"CHOICE_{place}_{name}" for place, name in enumerate(plain)]}


def _number(column: Column) -> Any:
    bounds = Field(ge=column.minimum, le=column.maximum, allow_inf_nan=False)
    return Annotated[float, Strict(), bounds]


def _integer(column: Column) -> Any:
    low = -MAX_WHOLE if column.minimum is None else int(np.ceil(column.minimum))
    high = MAX_WHOLE if column.maximum is None else int(np.floor(column.maximum))
    return Annotated[int, Strict(), Field(ge=low, le=high), BeforeValidator(_whole)]


def _whole(value: Any) -> Any:
    """Convert a whole float to an integer: JSON has one kind of number."""
    return int(value) if type(value) is float and value.is_integer() else value


def _category(column: Column) -> Any:
    """Accept a choice in any spelling, a whole number if the choice consists of digits, and a boolean for a flag."""
    numbers, is_flag = _numbers(column), column.kind == "flag"

    def text(value: Any) -> Any:
        if type(value) is bool:
            return column.choices[value] if is_flag else value
        value = _whole(value)
        if type(value) is str:
            return column.choice(value) or value
        if type(value) is int:
            return numbers.get(value) or column.choice(str(value)) or value
        return value

    shown = {"type": "string", "enum": [*column.choices], **_distinct(column.choices)}
    shown |= {"title": title(column)} if column.nullable else {}  # beside null, the field's own title is further out
    return Annotated[Literal[column.choices], BeforeValidator(text), WithJsonSchema(shown)]


def _date(_column: Column) -> Any:
    def check(value: Any) -> Any:
        if type(value) is not str or len(value) > MAX_DATE_LENGTH:
            raise ValueError
        days_of(value)
        return value

    shown = {"type": "string", "format": "date"}
    return Annotated[str, BeforeValidator(check), WithJsonSchema(shown)]


def _open_category(column: Column) -> Any:
    """Accept any text. The document has the choices as examples; a blank text is a missing value."""
    shown = {"type": "string", "examples": [*column.choices]}
    shown |= {"title": title(column)} if column.nullable else {"pattern": SEEN_PATTERN}
    return Annotated[str, Strict(), WithJsonSchema(shown)]


def _level_reader(column: Column, missing: Collection[str]) -> Callable[[Any], Any]:
    """Return a function that reads a level of an open category as in a file: blanks and `missing` are no value."""

    def read(value: Any) -> Any:
        if type(value) in (int, float):
            value = str(_whole(value))
        if type(value) is not str or value in column.codes:
            return value
        if _SURROGATE.search(value):
            raise PydanticCustomError("string_unicode", "no Unicode text")
        if not (is_blank(value) or value.strip() in missing):
            return column.level(value)
        if column.nullable:
            return None
        raise PydanticCustomError("missing", "no value")

    return read


def _time(_column: Column) -> Any:
    def check(value: Any) -> Any:
        if type(value) is not str or len(value) > MAX_DATE_LENGTH:
            raise ValueError
        datetime.fromisoformat(value)
        return value

    shown = {"type": "string", "format": "date-time"}
    return Annotated[str, BeforeValidator(check), WithJsonSchema(shown)]


def _id(_column: Column) -> Any:
    return Annotated[str, Strict(), Field(max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)]


_KINDS = {
    "number": _number,
    "integer": _integer,
    "category": _category,
    "flag": _category,
    "date": _date,
    "time": _time,
    "id": _id,
}
