"""Gaps of a file of customers that its sender accepts."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Self

from churnops.errors import DataError
from churnops.schema import Schema, nearest


def named(schema: Schema, headers: Iterable[str], allowed: Collection[str], kind: str) -> frozenset[str]:
    """Return the names of columns that are given by name or header.

    Raises
    ------
    DataError
        If a name is not one of `allowed`, whose columns are each a `kind` of the model.
    """
    names = {header: schema.rename([header]).get(header, header) for header in headers}
    if wrong := [header for header, name in names.items() if name not in allowed]:
        why = f"; {nearest(wrong[0], allowed)}" if allowed else ""
        raise DataError(f"'{wrong[0]}' is no {kind} of the model{why}")
    return frozenset(names.values())


def leaks_named(schema: Schema, headers: Iterable[str]) -> frozenset[str]:
    """Return the names of inputs whose leak is accepted; `headers` has names or headers. Errors as in `named`."""
    return named(schema, headers, [column.name for column in schema.model_inputs], "input")


@dataclass(frozen=True)
class Accepted:
    """Gaps of a file that do not refuse it.

    Attributes
    ----------
    unknown
        Whether many unknown levels are accepted.
    missing
        Names of inputs that the file may lack, or that may be empty in many rows, which are then scored without these
        values.
    """

    unknown: bool = False
    missing: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, schema: Schema, *, unknown: bool = False, missing: Iterable[str] = ()) -> Self:
        """Return the accepted gaps; `missing` has names or headers of columns.

        Raises
        ------
        DataError
            If a name is not that of an input.

        Examples
        --------
        >>> from churnops.schema import Column
        >>> spend = Column(name="spend", alias="Spend", kind="number", nullable=True)
        >>> schema = Schema(columns=(spend, Column(name="churn", kind="target", choices=("no", "yes"))))
        >>> Accepted.of(schema, missing=["Spend"]).missing
        frozenset({'spend'})
        """
        return cls(unknown, named(schema, missing, cls.everything(schema).missing, "input"))

    @classmethod
    def everything(cls, schema: Schema) -> Self:
        """Accept all gaps: unknown levels, and inputs that the file lacks or that are empty."""
        return cls(unknown=True, missing=frozenset(column.name for column in schema.model_inputs))

    @classmethod
    def requests(cls, schema: Schema) -> Self:
        """Return the accepted gaps of a request: unknown levels, and nullable inputs that are left out."""
        return cls(unknown=True, missing=frozenset(column.name for column in schema.model_inputs if column.nullable))
