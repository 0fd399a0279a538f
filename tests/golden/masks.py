"""Masks of values that differ between runs and machines: times, ids, paths, durations, last digits."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIGITS = 9
"""Number of significant digits that are compared."""
MICROSECONDS = 10**15
"""A larger integer is a time in microseconds since 1970."""
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?UTC|Z|[+-]\d\d:\d\d)?"
_MASKS = (
    (r"\d{8}T\d{6}\.\d{6}Z", "<time>"),
    (_TIME, "<time>"),
    (r"\d{4}-\d\d-\d\d", "<date>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
    (r"\bm-[0-9a-f]{32}\b", "<model id>"),
    (r"\([0-9a-f]{12}\)", "(<key id>)"),
    (r"churnops_[0-9a-f]{12}_[\w-]{43}", "<token>"),
    (r"\b[0-9a-f]{64}\b", "<hash>"),
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"(Project \S+ on) \S+, (since|at) ", r"\1 <host>, \2 "),
    (r"\b\d+\.\d+ (s|seconds|days|hours|minutes)\b", r"<duration> \1"),
)
_FITTED = (
    (r"\b(logistic_regression|decision_tree|random_forest|xgboost)-[0-9a-f]{12}\b", r"\1-<version>"),
    (r"(?<![\w.])-?\d+\.\d+(e[+-]?\d+)?\b", "<number>"),
)


def masked(value: Any, root: Path, *, fitted: bool = False) -> Any:
    """Mask the values of a text or JSON document that differ between two runs.

    Parameters
    ----------
    root
        Folder of the project, shown as `<project>`.
    fitted
        Whether numbers come out of a fit in this run. They differ between processors, so all are masked.
    """
    if isinstance(value, Mapping):
        return {masked(key, root, fitted=fitted): _item(key, item, root, fitted) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, root, fitted=fitted) for item in value]
    if isinstance(value, float):
        return "<number>" if fitted else float(f"{value:.{DIGITS}g}")
    if isinstance(value, int) and value > MICROSECONDS:
        return "<time>"
    return _text(value, root, fitted) if isinstance(value, str) else value


def _item(key: str, item: Any, root: Path, fitted: bool) -> Any:
    if key in ("seconds", "bytes"):
        return f"<{key}>"
    if key in ("by", "request_id") and isinstance(item, str):
        return f"<{key}>"
    return masked(item, root, fitted=fitted)


def _text(text: str, root: Path, fitted: bool) -> str:
    if text.startswith(("{", "[")):  # JSON within JSON, as in the journal
        try:
            return json.dumps(masked(json.loads(text), root, fitted=fitted))
        except ValueError:
            pass
    for folder in {str(root), str(root.resolve())}:
        text = text.replace(folder, "<project>")
    for pattern, mask in (*_MASKS, *(_FITTED if fitted else ())):
        text = re.sub(pattern, mask, text)
    return text
