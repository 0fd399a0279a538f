"""An invented customer for the documentation, valid by the Schema."""

from math import ceil, floor
from typing import Any

from churnops.api.customers import MAX_WHOLE, CustomerForm
from churnops.schema import Column

IDENTIFIER = "C-1001"
_COARSE = 10.0  # a wider range gets a whole number
_PLAIN = 1e6  # in a wider range, the middle is no typical value


def example_customer(form: CustomerForm) -> dict[str, Any]:
    """Return a customer as in a request: each required column, and an id.

    A number is the middle of its declared range; a category or flag has its first choice.
    """
    given = {form.identifier: IDENTIFIER} if form.identifier else {}
    return given | {column.name: example_value(column) for column in form.schema.model_inputs}


def example_value(column: Column) -> Any:
    """Return a valid value of a column; None if its range is empty.

    Examples
    --------
    >>> example_value(Column(name="calls", kind="integer", minimum=1, maximum=1000))
    500
    >>> example_value(Column(name="bill", kind="number", minimum=0.25))
    1.0
    >>> example_value(Column(name="plan", kind="flag", choices=("No", "Yes")))
    'No'
    """
    if column.choices:
        return column.choices[0]
    low = float("-inf") if column.minimum is None else column.minimum
    high = float("inf") if column.maximum is None else column.maximum
    middle = low / 2 + high / 2 if max(-low, high) <= _PLAIN else 1.0
    if column.kind == "integer":
        first, last = ceil(max(low, -MAX_WHOLE)), floor(min(high, MAX_WHOLE))
        return None if first > last else min(max(floor(middle), first), last)
    return min(max(float(round(middle)) if high - low > _COARSE else middle, low), high)
