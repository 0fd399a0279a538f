"""Strict JSON of bounded size: a scan counts the values of a body before they are parsed.

Parsed JSON takes up to thirty times the memory of its text: the three bytes `[],` become an object of 56 bytes. So a
document with too many values or levels is refused before parsing, and a list is parsed item by item.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from numba import types
from numpy.typing import NDArray
from pydantic_core import from_json

from churnops.api.problems import Problem
from churnops.compiled import compiled
from churnops.wire import FieldError

MAX_DEPTH = 8
_SPACE = b" \t\n\r"

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_RESULT = types.UniTuple(types.int64, 3)  # type: ignore[no-untyped-call]


@compiled(_RESULT(_BYTES, types.int64))
def _scan(body: NDArray[np.uint8], start: int) -> tuple[int, int, int]:
    """Find the end of the value that begins at `start`: a comma or bracket outside it, or the body's end.

    Returns the end, the number of values inside (members and elements at any depth), and the depth. The parser checks
    later that brackets match in kind.
    """
    values, depth, deepest = 0, 0, 0
    in_string = escaped = False
    for position in range(start, body.size):
        byte = body[position]
        if in_string:
            in_string, escaped = escaped or byte != 0x22, not escaped and byte == 0x5C
        elif byte == 0x22:  # quotation mark
            in_string = True
        elif byte == 0x5B or byte == 0x7B:  # [ {
            if depth == 0 and values > 0:
                return position, values, deepest
            values, depth = values + 1, depth + 1
            deepest = max(deepest, depth)
        elif byte == 0x5D or byte == 0x7D:  # ] }
            if depth == 0:
                return position, values, deepest
            depth -= 1
        elif byte == 0x2C:  # comma
            if depth == 0:
                return position, values, deepest
            values += 1
    return body.size, values, deepest


def parse_json(body: bytes, max_values: int) -> Any:
    """Parse strict JSON: UTF-8, no key twice, no NaN or Infinity.

    Parameters
    ----------
    max_values
        Limit of members and elements, at all depths together.

    Raises
    ------
    Problem
        400 if it is not JSON; 422 for a repeated key, NaN, Infinity, a too long number, too many values, or more than
        8 levels.
    """
    # Quick upper limits of the counts: commas and brackets in strings count too.
    brackets = body.count(b"{") + body.count(b"[")
    if brackets > MAX_DEPTH or brackets + body.count(b",") > max_values:
        end, values, depth = _scan(np.frombuffer(body, np.uint8), 0)
        _check(values, depth, max_values)
        if end < len(body):  # more text after the value, which was not scanned
            _decode(body[:end], body, 0)
            raise _not_json("Extra data", body, end)
    return _decode(body, body, 0)


def parse_list(body: bytes, max_items: int, max_values: int) -> Iterator[Any]:
    """Count the items of a JSON list, and return an iterator that parses each item as `parse_json` does.

    Parameters
    ----------
    max_items
        Limit of items.
    max_values
        Limit of members and elements of an item, at all depths together.

    Raises
    ------
    Problem
        413 for more items; 400 or 422 if the body is no list or an empty one. The iterator raises the problem of an
        item: 422 with the item's row, or 400.
    """
    start = len(body) - len(body.lstrip(_SPACE))
    if body[start : start + 1] != b"[":
        parse_json(body, max_values)  # raises a problem if it is not JSON
        raise Problem(422, "validation", "the body must be a JSON list with at least one item")
    array, ends = np.frombuffer(body, np.uint8), [start]
    while True:
        end, _, _ = _scan(array, ends[-1] + 1)
        if len(ends) > max_items:
            raise Problem(413, "too-many", f"more than {max_items} items: send several lists")
        ends.append(end)
        if body[end : end + 1] != b",":
            break
    if len(ends) == 2 and body[end : end + 1] == b"]" and not body[start + 1 : end].strip(_SPACE):
        raise Problem(422, "validation", "the body must be a JSON list with at least one item")
    return _items(body, array, ends, max_values)


def _items(body: bytes, array: NDArray[np.uint8], ends: list[int], max_values: int) -> Iterator[Any]:
    for row, (before, end) in enumerate(pairwise(ends), 1):
        try:
            _, values, depth = _scan(array, before + 1)
            _check(values, depth + 1, max_values)
            item = _decode(body[before + 1 : end], body, before + 1)
        except Problem as problem:
            raise problem.in_row(row) if problem.status == 422 else problem from None
        yield item
    if body[end : end + 1] != b"]":
        raise _not_json("Expecting ',' delimiter", body, end)
    if after := body[end + 1 :].lstrip(_SPACE):
        raise _not_json("Extra data", body, len(body) - len(after))


def _check(values: int, depth: int, max_values: int) -> None:
    if depth > MAX_DEPTH:
        raise _bad("nesting", f"the body has more than {MAX_DEPTH} levels of lists and objects")
    if values > max_values:
        raise _bad("size", f"an object has more than {max_values} values")


def _decode(text: bytes, body: bytes, start: int) -> Any:
    """Parse the part of `body` that begins at `start`."""
    # pydantic's parser takes half the time, but drops repeated keys: then the text has more colons than keys remain.
    try:
        document = from_json(text, allow_inf_nan=False)
    except ValueError:  # the slower parser names the error
        document = None
    if type(document) is dict and len(document) == text.count(b":"):
        return document
    try:
        return _decoder.decode(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise Problem(400, "not-json", "the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _not_json(error.msg, body, start + len(error.doc[: error.pos].encode())) from None
    except (ValueError, RecursionError):  # a number has more digits than Python converts
        raise _bad("number", "the body has a number with too many digits") from None


def _not_json(message: str, body: bytes, position: int) -> Problem:
    line = body.count(b"\n", 0, position) + 1
    before = body[body.rfind(b"\n", 0, position) + 1 : position]
    column = len(before.decode("utf-8", "replace")) + 1
    return Problem(400, "not-json", f"the body is not JSON: {message} at line {line}, column {column}")


def _bad(rule: str, message: str) -> Problem:
    return Problem(422, "validation", message, errors=[FieldError(field=None, rule=rule, message=message)])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _bad("unique", "an object has a key twice")
    return document


def _refuse_constant(_name: str) -> NoReturn:
    raise _bad("finite", "NaN and Infinity are not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
