"""Decision policy: the customers to contact, the cost of a contact, and the value of a kept customer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from churnops.errors import PolicyError, broken_rule
from churnops.schema import Schema, nearest

Rule = Literal["threshold", "budget", "contacts"]

_Amount = Annotated[float, Strict(), Field(ge=0.0, le=1e12, allow_inf_nan=False)]
_Text = Annotated[str, Strict(), Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class DecisionPolicy(BaseModel):
    """A decision policy: frozen, checked, and the same in JSON.

    Without a field it is the policy before anybody has set one: version 0, which flags by the model's own threshold.

    Attributes
    ----------
    threshold
        Lowest probability of a flagged customer, in (0, 1). None: the threshold of the deployed model.
    budget
        Largest total cost of a call list, above 0. It needs `cost`.
    contacts
        Largest number of customers of a call list, at least 1. A policy has a budget or a number of contacts, not both.
    cost
        Cost of contacting one customer, at least 0.
    value
        Value of a customer who is kept: an amount of at least 0, or the name of a number column of the customer table,
        such as the monthly bill.
    success_rate
        Share of leaving customers whom a contact keeps, in [0, 1]. An assumption, like `value`.
    currency
        Currency of cost, value and budget: a word for people.
    version
        Number of the policy in the journal, from 1; 0 if nobody has set a policy.
    at, by, reason
        Time, person and reason of the change. `at` is None in version 0.

    Examples
    --------
    >>> policy = DecisionPolicy(threshold=0.2, cost=10.0, value=200.0, success_rate=0.25, currency="EUR")
    >>> policy.rule, policy.flags([0.1, 0.2], own_threshold=0.5).tolist()
    ('threshold', [False, True])
    >>> policy.expected_profit([0.1, 0.8]).tolist()
    [-5.0, 30.0]
    >>> DecisionPolicy.read(policy.to_json()) == policy
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Strict(), Field(gt=0.0, lt=1.0)] | None = None
    budget: Annotated[_Amount, Field(gt=0.0)] | None = None
    contacts: Annotated[int, Strict(), Field(ge=1, le=10**9)] | None = None
    cost: _Amount | None = None
    value: _Amount | Annotated[_Text, Field(min_length=1)] | None = None
    success_rate: Annotated[float, Strict(), Field(ge=0.0, le=1.0)] | None = None
    currency: Annotated[_Text, Field(max_length=12)] = ""
    version: Annotated[int, Strict(), Field(ge=0)] = 0
    at: datetime | None = None
    by: _Text = ""
    reason: Annotated[str, Strict(), Field(max_length=2000)] = ""

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if self.budget is not None and self.contacts is not None:
            raise ValueError("a policy has a budget or a number of contacts, not both")
        if self.budget is not None and not self.cost:
            raise ValueError("a budget needs the cost of a contact, above 0")
        return self

    @classmethod
    def read(cls, document: Mapping[str, Any], *, quoted: bool = True) -> Self:
        """Return the policy of a JSON object.

        Parameters
        ----------
        quoted
            Whether an error repeats the value.

        Raises
        ------
        PolicyError
            With one line that names the field, its value and the rule.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            message = broken_rule(first)
            field = str(first["loc"][0])[:64] if first["loc"] else ""
            given = "" if first["type"] == "value_error" or not quoted else f" (given: {str(first['input'])[:80]!r})"
            if first["type"] == "extra_forbidden":
                message, given = f"there is no such field; {nearest(field, cls.model_fields)}", ""
            raise PolicyError(f"the policy's {field}: {message}{given}" if field else message) from None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types, without fields at their default."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def terms(self) -> dict[str, Any]:
        """Return the JSON object without version, time, person and reason: the part that decides."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"version", "at", "by", "reason"})

    @property
    def rule(self) -> Rule:
        """End of a call list: the threshold, the budget, or the number of contacts."""
        if self.budget is not None:
            return "budget"
        return "threshold" if self.contacts is None else "contacts"

    @property
    def is_set(self) -> bool:
        """Whether a person has set this policy."""
        return self.version > 0

    @property
    def limit(self) -> int | None:
        """Largest number of customers of a call list; None if only the threshold ends it."""
        if self.budget is not None and self.cost:
            return int(self.budget / self.cost * (1 + 1e-12))
        return self.contacts

    @property
    def break_even(self) -> float | None:
        """Lowest probability at which a contact pays; above 1 if none does, None if the value is not one amount."""
        if self.missing_terms() or isinstance(self.value, str):
            return None
        kept = (self.success_rate or 0.0) * (self.value or 0.0)
        if not kept:
            return 0.0 if not self.cost else None
        return (self.cost or 0.0) / kept

    def amount(self, number: float | None) -> str:
        """Return an amount of money in words.

        >>> DecisionPolicy(currency="EUR").amount(1200.0)
        '1,200 EUR'
        """
        return f"{number or 0:,.10g} {self.currency}".strip()

    @property
    def value_column(self) -> str | None:
        """Column with the value of each customer; None if the value is the same for all, or not stated."""
        return self.value if isinstance(self.value, str) else None

    def flags(self, probability: ArrayLike, own_threshold: float) -> NDArray[np.bool_]:
        """Return which customers are predicted to churn, shape (n,).

        Parameters
        ----------
        own_threshold
            Threshold of the model itself, which counts if the policy has none.
        """
        return np.asarray(probability, dtype=np.float64) >= self.threshold_for(own_threshold)

    def threshold_for(self, own_threshold: float) -> float:
        """Return the threshold in force for a model with its own threshold."""
        return own_threshold if self.threshold is None else self.threshold

    def missing_terms(self) -> tuple[str, ...]:
        """Return the fields that expected profit needs and the policy lacks."""
        return tuple(name for name in ("cost", "value", "success_rate") if getattr(self, name) is None)

    def expected_profit(self, probability: ArrayLike, value: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the expected profit of contacting each customer: `success_rate * p * value - cost`, shape (n,).

        Parameters
        ----------
        value
            Value of each customer, shape (n,), if the policy names a column. NaN (unknown) gives NaN.

        Raises
        ------
        PolicyError
            If the policy lacks a number, or `value` is missing.
        """
        if self.cost is None or self.value is None or self.success_rate is None:
            names = " and ".join(self.missing_terms())
            raise PolicyError(f"expected profit needs {names}: set them with `churnops decision set`")
        if self.value_column is not None and value is None:
            raise PolicyError(f"expected profit needs the column {self.value_column} of each customer")
        values = self.value if self.value_column is None else value
        p = np.asarray(probability, dtype=np.float64)
        profit: NDArray[np.float64] = self.success_rate * p * np.asarray(values, dtype=np.float64) - self.cost
        return profit

    def in_table(self, schema: Schema, *, quoted: bool = True) -> Self:
        """Return the policy with the name of its value column, whose header may be given.

        A column that is not a number column of the customer table, or is personal, is refused. `quoted`: see `read`.

        Raises
        ------
        PolicyError
            With the columns that are allowed.
        """
        if (given := self.value_column) is None:
            return self
        name = schema.rename([given]).get(given, given)
        numbers = [c.name for c in schema.inputs if c.kind in ("integer", "number") and not c.personal]
        shown = repr(name) if quoted else "this"
        if name in schema.personal:
            raise PolicyError(f"value: {shown} is personal, so the journal does not have its values")
        if name not in numbers:
            listed = ", ".join(numbers[:8]) + (", …" if len(numbers) > 8 else "")
            raise PolicyError(f"value: {shown} is not a number column of the customer table; allowed: {listed}")
        return self.model_copy(update={"value": name})

    def value_problem(self, schema: Schema) -> str:
        """Return why the value does not fit the table of a model, and the next command; empty if it fits."""
        try:
            self.in_table(schema)
        except PolicyError as error:
            return f"decision policy {self.version}: {error}; set another with `churnops decision set --value`"
        return ""
