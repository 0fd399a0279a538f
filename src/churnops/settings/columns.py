"""Limits of the columns that a config file declares.

They are not part of the Schema: Schemas in older Bundles may exceed them, and must stay readable.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from churnops.limits import MAX_CHOICES
from churnops.schema import WARNINGS, Column, Schema, nearest
from churnops.settings.rules import DESCRIPTION, LABEL, UNIT, WHY, Items, Number, Rule, Text, Whole

CHOICE = Text("text without control characters", 1, 200)
RULES: Mapping[str, Rule] = {
    "alias": Text("a header without control characters", 1, 200),
    "label": LABEL,
    "unit": UNIT,
    "why": WHY,
    "action": WHY,
    "description": DESCRIPTION,
    "minimum": Number(-1e300, 1e300),
    "maximum": Number(-1e300, 1e300),
    "choices": Items(0, MAX_CHOICES),
}
INTEGER = Whole(-(2**53), 2**53)


def check_columns(schema: Schema) -> Schema:
    """Return the Schema if its columns are within the limits.

    Raises
    ------
    ValueError
        If a column exceeds a limit; the message names the first one.
    """
    for column in schema.columns:
        if WARNINGS in (column.name, column.alias):
            raise ValueError(f"'{WARNINGS}' is a column that churnops adds: rename yours")
        for name, rule in RULES.items():
            value = getattr(column, name)
            if value is not None:
                _check(column, name, rule, value)
        for choice in column.choices:
            _check(column, "each of its choices", CHOICE, choice)
    return schema


def check_directions(names: Collection[str], schema: Schema, derived: Sequence[str]) -> None:
    """Refuse a direction (`training.monotone`) of anything but an ordered column or a derived feature.

    Raises
    ------
    ValueError
        If a name is unknown, of a category, or of a column that is no model input.
    """
    ordered = [*(column.name for column in schema.model_inputs if column.kind != "category"), *derived]
    for name in names:
        if name in ordered:
            continue
        if (column := schema.by_name.get(name)) is None:
            reason = f"there is no such column or derived feature: {nearest(name, ordered)}"
        elif column.kind == "category":
            reason = "a category has no order, only a number, integer, flag, date or derived feature has"
        else:
            reason = "it is no input of the models, because only required inputs are"
        raise ValueError(f"training.monotone: '{name[:64]}': {reason}")


def _check(column: Column, name: str, rule: Rule, value: Any) -> None:
    if column.kind == "integer" and name in ("minimum", "maximum"):
        rule, value = INTEGER, int(value) if float(value).is_integer() else value
    if not rule.allows(value):
        given = repr(value)[:80] if isinstance(value, str | float | int) else f"{len(value):,}"
        raise ValueError(f"column '{column.name}': {name} must be {rule.words}, given {given}")
