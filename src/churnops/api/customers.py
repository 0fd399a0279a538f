"""Customers in requests, checked by a model that is generated from the Schema."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError, create_model

from churnops.api.customer_fields import field_of
from churnops.api.problems import Problem
from churnops.api.strict_json import parse_list
from churnops.api.work import STEP_ROWS, Steps, at_once
from churnops.dates import date_text, days_of
from churnops.limits import MAX_ERRORS, MAX_HINTS
from churnops.schema import (
    CUSTOMER_ID,
    MAX_ID_LENGTH,
    Column,
    Columns,
    Schema,
    is_marked,
    nearest,
)
from churnops.wire import FieldError

_PREFIX = "column_"  # before the model's attributes: pydantic reserves names that a column may have, such as `copy`
MAX_SHOWN = 64  # characters of an unknown field's name in a message
REFUSED = "the customer is simulated, and predictions are recorded as production data: send real customers only"
"""Reason to refuse a simulated customer."""

Record = Mapping[str, Any]
"""One checked customer: JSON values by snake_case name. The value of a category or flag is its choice; that of an open
category may be another text. A nullable input that was left out is None."""


class NamedCustomer(NamedTuple):
    """A request that names a customer by the field of the id, and has no columns.

    `record` is the customer as sent; it is empty if the model needs columns.
    """

    field: str
    id: str
    record: Record


class CustomerForm:
    """Checks and encodes the customers of a Schema.

    Attributes
    ----------
    model
        Pydantic model of one customer, with snake_case names as aliases.
    identifier
        Name of the field of the customer's id.
    max_values
        Limit of the values in one customer's JSON: twice the number of fields, as each field has up to two names.
    simulated
        Whether simulated customers are accepted, as in a demonstration.
    """

    def __init__(self, schema: Schema, *, simulated: bool = False) -> None:
        self.schema = schema
        self.simulated = simulated
        identifier = schema.identifier or (None if "customer_id" in schema.by_name else CUSTOMER_ID)
        self.identifier = identifier.name if identifier else None
        fields = [c for c in schema.columns if c.kind != "target" and c is not schema.identifier]
        self._columns = (*((identifier,) if identifier else ()), *fields)
        self._by_name = {column.name: column for column in self._columns}
        self.max_values = 2 * len(self._columns)
        self.model = create_model(
            "Customer",
            __config__=ConfigDict(extra="forbid", title="Customer"),
            **{_PREFIX + column.name: field_of(column, schema.missing) for column in self._columns},
        )
        self._validate = self.model.__pydantic_validator__.validate_python
        self._names = {key: column.name for column in self._columns for key in (column.name, column.alias) if key}
        self._nullable = {_PREFIX + column.name for column in schema.model_inputs if column.nullable}
        self._open = [(column.name, column.codes) for column in schema.inputs if column.is_open]
        self._codes = [(column.name, codes_of(column)) for column in schema.model_inputs]

    def read(self, document: Any) -> Record:
        """Check one customer: a JSON object with snake_case names or the aliases of the Schema.

        Raises
        ------
        Problem
            422 with each invalid field and the rule that it breaks.
        """
        record, errors = self._checked(document)
        if errors:
            raise _refused(errors)
        return record

    def named(self, document: Any) -> NamedCustomer | None:
        """Return the customer that a request names without any column; None if it does not, or the id is invalid."""
        if type(document) is not dict or len(document) != 1 or self.identifier is None:
            return None
        [(name, value)] = document.items()
        if self._names.get(name) != self.identifier or type(value) is not str:
            return None
        record, errors = self._checked(document, 1)  # the id is the first field, so its error is the first one
        invalid = bool(errors) and errors[0].field == self.identifier
        return None if invalid else NamedCustomer(self.identifier, value, record)

    def known(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a stored row that a request may have; a feature store has others too."""
        return {name: value for name, value in row.items() if name in self._names}

    def read_list(self, body: bytes, max_rows: int) -> Steps[list[Record]]:
        """Check the customers of a JSON list of at most `max_rows`, in steps."""
        documents = parse_list(body, max_rows, self.max_values)
        yield
        return (yield from self._reading(documents, 1))

    def read_requests(self, body: bytes, max_rows: int) -> Steps[list[Record | NamedCustomer]]:
        """Check a list like `read_list`, in which a customer may be named without columns."""
        documents = parse_list(body, max_rows, self.max_values)
        yield
        return (yield from self._reading(documents, 1, self.named))

    def read_all(self, documents: Iterable[Any], first_row: int = 1) -> list[Record]:
        """Check customers, and stop at 20 errors.

        `first_row` is the row number of the first customer in messages.
        """
        return at_once(self._reading(documents, first_row))

    def _reading(
        self, documents: Iterable[Any], first_row: int, named: Callable[[Any], NamedCustomer | None] = lambda _: None
    ) -> Steps[list[Any]]:
        records: list[Record | NamedCustomer] = []
        errors: list[FieldError] = []
        for row, document in enumerate(documents, first_row):
            customer = named(document)
            record, broken = (customer, []) if customer else self._checked(document, MAX_ERRORS - len(errors))
            errors += [error.model_copy(update={"row": row}) for error in broken]
            records.append(record)
            if len(errors) >= MAX_ERRORS:
                break
            if len(records) % STEP_ROWS == 0:
                yield
        if errors:
            raise _refused(errors)
        return records

    def _checked(self, document: Any, limit: int = MAX_ERRORS) -> tuple[Record, list[FieldError]]:
        """Return a customer's values, and up to `limit` errors in them."""
        if type(document) is not dict:
            return {}, [FieldError(field=None, rule="object", message="a customer must be a JSON object")]
        if self.simulated:
            document = {key: value for key, value in document.items() if not is_marked([key])}
        names = self._names
        if not document.keys() <= self._by_name.keys():
            renamed = {names.get(key, key): value for key, value in document.items()}
            if len(renamed) != len(document):
                [(repeated, _)] = Counter(names.get(key, key) for key in document).most_common(1)
                message = f"{self._by_name[repeated].full_name} is given twice: keep one of its names"
                return {}, [FieldError(field=repeated, rule="unique", message=message)]
            document = renamed
        try:
            customer = self._validate(document)
            given = customer.model_fields_set | self._nullable
            return {name.removeprefix(_PREFIX): value for name, value in customer if name in given}, []
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=True)
        hinted = max(MAX_HINTS // len(names), 1)
        return {}, [self._explain(item, hint=place < hinted) for place, item in enumerate(problems[:limit])]

    def _explain(self, error: Any, *, hint: bool) -> FieldError:
        """Convert an error of pydantic to a FieldError; its message does not contain the value."""
        if not error["loc"]:
            return FieldError(field=None, rule="characters", message="a field's name must be Unicode text")
        name, kind, context = str(error["loc"][0]), error["type"], error.get("ctx", {})
        if kind == "extra_forbidden":
            return FieldError(field=name[:MAX_SHOWN], rule="unknown", message=self._unknown(name, hint=hint))
        column = self._by_name[name]
        rules = {
            "missing": ("required", "is required"),
            "finite_number": ("finite", "must be finite"),
            "greater_than_equal": ("minimum", f"must be at least {context.get('ge')}"),
            "less_than_equal": ("maximum", f"must be at most {context.get('le')}"),
            "literal_error": ("choices", f"must be one of {', '.join(column.choices)}"),
            "string_too_long": ("length", f"must have at most {MAX_ID_LENGTH} characters"),
            "string_pattern_mismatch": (
                "characters",
                "must have a visible character, and no NUL",
            ),
            "string_unicode": ("characters", "must be Unicode text"),
        }
        rule, message = rules.get(kind, ("type", f"must be {_expected(column)}"))
        return FieldError(field=name, rule=rule, message=f"{column.full_name} {message}")

    def _unknown(self, name: str, *, hint: bool) -> str:
        target = self.schema.target
        if name in (target.name, target.alias):
            return f"'{name}' is the outcome, not an input: send it to /labels when it is known"
        if is_marked([name]):
            return REFUSED
        if name == CUSTOMER_ID.name and self.identifier:
            return f"there is no field '{name}': the customer's id is {self._by_name[self.identifier].full_name}"
        close = nearest(name, self._names) if hint else ""
        meant = f"; {close}" if close.startswith("did") else ""
        return f"there is no field '{name[:MAX_SHOWN]}'{meant}"

    def encode(self, records: Sequence[Record]) -> Columns:
        """Encode checked customers as one array for each model input, of shape (len(records),)."""
        columns: dict[str, NDArray[np.float64]] = {}
        for name, codes in self._codes:
            if codes is None:
                values = [record[name] for record in records]
            else:
                values = [nan if record[name] is None else codes[record[name]] for record in records]
            columns[name] = np.array(values, dtype=np.float64)  # None becomes NaN
        return columns

    def encode_one(self, record: Record) -> dict[str, float]:
        """Encode one checked customer as a number for each model input; NaN is a missing value."""
        values = {}
        for name, codes in self._codes:
            value = record[name]
            values[name] = nan if value is None else float(value) if codes is None else codes[value]
        return values

    def unknown(self, record: Record) -> list[str]:
        """Return the columns of a checked customer whose level is outside their choices."""
        return [name for name, codes in self._open if (level := record.get(name)) is not None and level not in codes]

    def example(self, columns: Columns, row: int = 0) -> dict[str, Any]:
        """Return an encoded customer as a client would send it."""
        values = ((column, columns[column.name][row]) for column in self._columns if column.name in columns)
        return {column.name: _decode(column, float(value)) for column, value in values}


def _refused(errors: Sequence[FieldError]) -> Problem:
    first = next((error for error in errors if error.rule == "unknown"), errors[0])  # the likely cause of the others
    where = f"row {first.row}: " if first.row is not None else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(422, "validation", f"{where}{first.message}{more}", errors=errors)


def _decode(column: Column, value: float) -> Any:
    if np.isnan(value):
        return None
    if column.choices:
        return column.levels[int(value)]
    if column.kind == "date":
        return date_text(value)
    return int(value) if column.kind == "integer" else value


class _Days(dict[Any, float]):
    """Days since 1970-01-01 UTC by ISO 8601 text, computed when they are needed."""

    def __missing__(self, text: str) -> float:
        return days_of(text)


class _OpenCodes(dict[Any, float]):
    """Codes of an open category's choices; `other` is the code of any other level."""

    def __init__(self, column: Column) -> None:
        super().__init__({choice: float(code) for code, choice in enumerate(column.choices)})
        self._other = column.other

    def __missing__(self, level: str) -> float:
        return self._other


def codes_of(column: Column) -> dict[Any, float] | None:
    """Return the encoded value of each JSON value of a column; None if it is the value itself."""
    if column.kind == "date":
        return _Days()
    if column.is_open:
        return _OpenCodes(column)
    return {choice: float(i) for i, choice in enumerate(column.choices)} or None


def _expected(column: Column) -> str:
    kinds = {
        "number": "a number",
        "integer": "a whole number",
        "date": "an ISO 8601 date, such as 2024-03-05",
        "time": "an ISO 8601 time",
    }
    return kinds.get(column.kind, "a string")
