"""Request for a call list: how many customers, of which segments, and whom to leave out."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from churnops.decision.policy import DecisionPolicy
from churnops.errors import CallListError, broken_rule
from churnops.schema import Column, Schema, nearest

MAX_CUSTOMERS = 100_000
"""Largest number of customers of a call list."""

DAYS = 30
"""Default number of days for which a contacted or listed customer is left out."""

Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Levels = Annotated[tuple[Line, ...], Field(min_length=1, max_length=100)]


class ListRequest(BaseModel):
    """Size, segments and name of a call list.

    Attributes
    ----------
    budget, contacts
        Largest total cost, or largest number of customers, in place of the decision policy's. None: the policy's.
    where
        Levels of columns, by the column's name: only customers with one of them are listed.
    days
        Customers who were contacted or listed in this many days are left out; 0: nobody is.
    name
        Name of the list; empty: one with the day and the number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: Annotated[float, Field(strict=True, gt=0, le=1e12, allow_inf_nan=False)] | None = None
    contacts: Annotated[int, Field(strict=True, ge=1, le=MAX_CUSTOMERS)] | None = None
    where: Annotated[Mapping[Line, _Levels], Field(max_length=20)] = {}
    days: Annotated[int, Field(strict=True, ge=0, le=3650)] = DAYS
    name: Line = ""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return the request of a JSON object.

        Raises
        ------
        CallListError
            With one line that names the field and the rule.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part)[:64] for part in first["loc"])
            raise CallListError(f"call list: {field}: {broken_rule(first)}") from None

    def policy(self, current: DecisionPolicy) -> DecisionPolicy:
        """Return the policy with this request's budget or number of contacts.

        Raises
        ------
        PolicyError
            If both are given, or the policy has no cost for a budget.
        """
        if self.budget is None and self.contacts is None:
            return current
        return DecisionPolicy.read(
            {**current.to_json(), "budget": self.budget, "contacts": self.contacts}  # replaces both
        )

    def since(self, now: datetime) -> datetime | None:
        """Return the time from which a contact or a list counts; None if none does."""
        return now - timedelta(days=self.days) if self.days else None

    def in_table(self, schema: Schema) -> Self:
        """Return the request with the names of its columns, whose headers may be given.

        Segments of columns or levels that the model's Schema does not have are refused.

        Raises
        ------
        CallListError
            With the columns or levels that are allowed.
        """
        allowed = {c.name: c for c in schema.inputs if c.kind in ("category", "flag") and not c.personal}
        names = schema.rename(self.where)
        where = {names.get(given, given): levels for given, levels in self.where.items()}
        for name, levels in where.items():
            if (column := allowed.get(name)) is None:
                raise CallListError(f"'{name}' is no category or flag to filter by: {nearest(name, allowed)}")
            for level in levels:
                if level not in column.levels:
                    raise CallListError(f"column '{name}' has no such level: {nearest(level, column.levels)}")
        return self.model_copy(update={"where": where})

    def segment(self, schema: Schema) -> list[tuple[Column, frozenset[int]]]:
        """Return the columns of the segments, each with the codes of its levels; see `in_table`."""
        columns = ((schema.by_name[name], levels) for name, levels in self.where.items())
        return [(column, frozenset(map(column.levels.index, levels))) for column, levels in columns]

    def document(self, source: str, policy: DecisionPolicy) -> dict[str, Any]:
        """Return what decides about the list, in JSON types: the same document gives the same list."""
        where = {name: sorted(levels) for name, levels in sorted(self.where.items())}
        return {"source": source, "where": where, "days": self.days, "policy": policy.terms()}
