"""Values of JSON that anybody may have written: of the type that is expected, or None; and files read within bounds."""

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 2 * 2**20
MAX_TEXT, MAX_TEXTS = 2000, 50


def read_document(path: Path, most: int = MAX_BYTES) -> Mapping[str, Any]:
    """Read a JSON object from an ordinary file: not through a link, which may lead anywhere, and no more than `most`.

    Raises
    ------
    ValueError
        If it cannot be read, or is not a JSON object; the message says so in a few words.
    """
    try:
        # A pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is not an ordinary file")
            data = file.read(most + 1)
    except OSError:
        raise ValueError("it cannot be read") from None
    if len(data) > most:
        raise ValueError(f"it has more than {most // 2**20} MB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def number(value: object) -> float | None:
    """Return a finite number, or None.

    >>> number(1), number(True), number("1"), number(float("nan")), number(10**400)
    (1.0, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def count(value: object) -> int | None:
    """Return a whole number from 0 up to what is still a count of something, or None.

    >>> count(3), count(-1), count(3.0), count(10**400)
    (3, None, None, None)
    """
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None


def text(value: object) -> str:
    """Return a text, or an empty one."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list; what is no list has none."""
    return tuple(text(item) for item in value[:MAX_TEXTS] if isinstance(item, str)) if isinstance(value, list) else ()


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}
