"""Messages about wrong settings: one line with the setting, the allowed values and the given one, without secrets."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from churnops.errors import broken_rule, redact
from churnops.schema import nearest
from churnops.settings.variables import ENV_PREFIX, SECRETS

_SECRETS = tuple(map(".".join, SECRETS))
_ADDRESSES = (
    "journal.url",
    "tracking.uri",
    "retraining.check_url",
    "alerts.link",
    "dashboard.api_url",
    "dashboard.mlflow_url",
)


def explain(model: type[BaseModel], error: ErrorDetails) -> str:
    """Turn pydantic's error into one line; for an unknown key, suggest the nearest valid one."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        section, key = _fields_at(model, error["loc"][:-1]), str(error["loc"][-1])
        variable = ENV_PREFIX + where.replace(".", "__").upper()
        return f"unknown setting '{where[:200]}' (or variable {variable[:200]}): {nearest(key, section)}"
    if error["type"] == "missing":
        return f"setting '{where}' is required"
    reason = broken_rule(error)
    if error["type"] in ("model_type", "dict_type"):
        reason = "must be a section with settings below it"
    if not where:  # a rule on several settings, which names them
        return reason
    given = error.get("input")
    quote = ": put it in quotes" if error["type"] == "string_type" and isinstance(given, bool | int | float) else ""
    return f"setting '{where}': {reason}{_given(where, given)}{quote}"


def _given(where: str, value: Any) -> str:
    if where.startswith(_SECRETS):
        return ""
    if where.startswith(_ADDRESSES):  # an address may hold a password or token, so only its scheme is shown
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,20}:", value) if isinstance(value, str) else None
        return f", given '{scheme[0]}…'" if scheme else ""
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, Mapping | list | tuple):
        return f", given {'a mapping' if isinstance(value, Mapping) else 'a list'} of {len(value):,}"
    if isinstance(value, str):
        shown = redact(value)
        return f", given the text {shown[:80]!r}{'…' if len(shown) > 80 else ''}"
    return f", given {_as_written(value)}"


def _as_written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    return repr(value)[:80]


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the valid names at `location`, a path through sections and lists of sections."""
    for part in location:
        if isinstance(part, int):
            continue
        by_alias = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = by_alias[part].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return [field.alias or name for name, field in model.model_fields.items()]
