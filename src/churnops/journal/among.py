"""Conditions on many values in one parameter, whose statement is the same for any number of them."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Column, ColumnElement, Connection, Text, any_, func, literal, select


def among(connection: Connection, column: Column[Any], texts: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these texts. With IN, each text would be a parameter."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(texts), ARRAY(Text)))
    return column.in_(select(func.json_each(json.dumps(texts)).table_valued("value").c.value))
