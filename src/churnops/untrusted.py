"""Untrusted JSON: files read within limits, and values of the expected type, else None or an empty value."""

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 2 * 2**20
MAX_TEXT, MAX_TEXTS = 2000, 50


def read_document(path: Path, max_bytes: int = MAX_BYTES) -> Mapping[str, Any]:
    """Read a JSON object of at most `max_bytes` from an ordinary file; links are refused.

    Raises
    ------
    ValueError
        If the file cannot be read or is not a JSON object. The message is a short reason.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is not an ordinary file")
            data = file.read(max_bytes + 1)
    except OSError:
        raise ValueError("it cannot be read") from None
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes // 2**20} MiB")
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
    """Return a whole number from 0 up to 10**12, or None.

    >>> count(3), count(-1), count(3.0), count(10**400)
    (3, None, None, None)
    """
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None


def text(value: object) -> str:
    """Return the first 2,000 characters of a text; an empty text for any other type."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """Return the texts among the first 50 items of a list; an empty tuple for any other type."""
    return tuple(text(item) for item in value[:MAX_TEXTS] if isinstance(item, str)) if isinstance(value, list) else ()


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one for any other type."""
    return value if isinstance(value, dict) else {}
