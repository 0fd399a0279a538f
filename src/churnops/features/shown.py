"""Values of features as people write them."""

import ast
from functools import lru_cache

from churnops.dates import day_text
from churnops.features.build import Feature
from churnops.schema import Schema
from churnops.words import number, one_line, with_unit


def shown_value(value: float | None, feature: Feature | None, schema: Schema) -> str:
    """Return a feature's value in words: a flag's choice, yes or no if the feature is a comparison, else the number."""
    if value is None or feature is None or value != value:
        return ""
    column = schema.by_name.get(feature.name)
    if column is not None and column.levels and value in range(len(column.levels)):
        return one_line(column.levels[int(value)])
    if is_comparison(feature.expression):
        return "yes" if value else "no"
    is_date = column is not None and column.kind == "date"
    return quantity(value, one_line((column or feature).unit), is_date=is_date)


@lru_cache(maxsize=1024)
def is_comparison(expression: str) -> bool:
    """Return whether an expression is a comparison, so that its values are yes and no."""
    try:
        tree = ast.parse(expression[:1000], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return isinstance(tree, ast.Compare | ast.BoolOp) or (
        isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
    )


def quantity(value: float, unit: str = "", *, is_date: bool = False) -> str:
    """Return a value of a column as text: a number with its unit, or a date.

    Examples
    --------
    >>> quantity(265.1, "min"), quantity(19787.0, is_date=True)
    ('265.1 min', '2024-03-05')
    """
    return day_text(value) if is_date else with_unit(number(value), unit)
