"""Schema: the only declaration of the customer table.

Validation, the API's request model, the dashboard's form and the monitored columns follow it. Inside churnops a column
has a snake_case name; its header in the raw file is the `alias`. After reading, columns are *encoded*: one float64
array each, with NaN for a missing value, the index of the choice for a category, 0 or 1 for a flag, and the days since
1970-01-01 UTC for a date. A level that an open category does not have is encoded as `Column.other`.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from churnops.dates import day_text
from churnops.errors import DataError
from churnops.limits import MAX_CHOICES, MAX_COLUMNS, MAX_ERRORS, MAX_HINTS
from churnops.spelling import plain, spellings

Kind = Literal["number", "integer", "category", "flag", "date", "id", "time", "target"]
DateFormat = Literal["iso", "day_first", "month_first"]
Encoding = Literal["utf-8", "windows-1252"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Columns = Mapping[str, NDArray[np.float64]]
"""Encoded columns of equal length, by name."""

MAX_ID_LENGTH = 128
MAX_LEVEL = 200
"""Characters that are kept of a level that a category does not have."""
MAX_LISTED = 100  # names in a message
MAX_MISSING_WORDS = 50
_FORMS = {"missing": "", "encoding": "utf-8", "decimal": ".", "thousands": ""}
"""Fields of a Schema on the form of texts in files, with their defaults; empty: none."""
# Spaces, control characters and other invisible ones, such as U+200B (zero width space).
_UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0"
)
ID_PATTERN = rf"^[^\x00]*[^{_UNSEEN}][^\x00]*$"
"""Regular expression of an id: at least one visible character, and no NUL, which PostgreSQL cannot store.

Blank ids are refused, because all customers with a blank id would count as one customer.
"""
SEEN_PATTERN = f"[^{_UNSEEN}]"
"""Regular expression of a visible character."""
_SEEN = re.compile(SEEN_PATTERN)
WARNINGS = "prediction_warnings"
"""Column of the API's answers to files. It is newer than the others, so Schemas of earlier models may have it."""
DECISION = "decision_version"
"""Column with the version of the decision policy, if one is set. Schemas of earlier models may have it, too."""
ARM = "experiment_arm"
"""Column of answers while a split runs: `champion` or `challenger`. As new as the column above."""
RESERVED = (
    "churn_probability",
    "churn_prediction",
    "model_version",
    "base_value",
    "explanation_scale",
    "top_shap_features",
    "prediction_id",
    WARNINGS,
    DECISION,
    ARM,
)
"""Columns that scoring adds, see `Schema.added`. A config file cannot declare them."""
SIMULATED = "churnops_simulated"
"""Column that `churnops simulate` adds. Customers of a table with this column never count as production customers."""
_MARK = SIMULATED.replace("_", "")
_MARK_WITHIN = 1000  # searched characters of a header: a wrong separator makes a file's first line one header


def is_marked(headers: Iterable[str]) -> bool:
    """Whether a table has the column that marks simulated customers, also under a changed name.

    Tools rename columns, so only letters and digits count, and a prefix or suffix, such as a join's, is ignored.

    >>> [is_marked(["State", name]) for name in ("Churnops Simulated", "t.CHURNOPS_SIMULATED_x", "simulated")]
    [True, True, False]
    """
    return any(_MARK in re.sub(r"[\W_]", "", header[:_MARK_WITHIN]).casefold() for header in headers)


def _plain(header: str) -> str:
    return re.sub(r"[\W_]+", "", header[:200]).casefold()


def is_blank(id_: str) -> bool:
    r"""Whether an id has no visible character.

    >>> [is_blank(text) for text in ("", " \t", "\u200b", "0", "-", "ann")]
    [True, True, True, False, False, False]
    """
    return _SEEN.search(id_) is None


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the end of an error message: the valid name closest to `name`, or a list of valid names.

    >>> nearest("drift_treshold", ["drift_threshold", "random_state"])
    "did you mean 'drift_threshold'?"
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name[:64], names[:MAX_HINTS], n=1, cutoff=0.5)
    listed = ", ".join(names[:MAX_LISTED]) + (", …" if len(names) > MAX_LISTED else "")
    return f"did you mean '{close[0]}'?" if close else f"valid names: {listed}"


def without_empty_labels(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without empty texts for people, and without `sensitive` and `personal` if they are False.

    >>> without_empty_labels({"name": "a", "label": "", "unit": "min"})
    {'name': 'a', 'unit': 'min'}
    """
    return {
        name: value
        for name, value in document.items()
        if value or name not in ("label", "unit", "why", "action", "sensitive", "personal", "actionable")
    }


class Column(BaseModel):
    """One column of the customer table.

    Parameters
    ----------
    name
        snake_case name inside churnops.
    kind
        number, integer, category, flag, date, id, time or target. A date is an input; the time of the row is none.
    alias
        Header in the raw file, accepted beside `name`.
    label
        Name on pages and in reports; empty: `name` as words.
    unit
        Unit of a number or integer, such as "min"; empty: none.
    why
        Reason on call lists if the column raises a customer's risk, such as "calls customer service often"; empty:
        `label`.
    action
        Action that call lists suggest if the column is a customer's main reason, such as "offer the flat rate".
    required
        Whether every table must have the column. Only required columns are model inputs, so an optional column never
        changes a score.
    sensitive
        Whether the column describes a group that must not be treated differently, such as gender or age. It is never a
        model input (`required` is False), and the model card compares its groups.
    personal
        Whether the values are kept from the journal, logs, messages and written files, see `Schema.personal`.
    actionable
        Whether people can change the value for a customer, such as a discount: `churnops.decision.what_if` varies it.
    nullable
        Whether single values may be missing; a constant in the bundle replaces them.
    minimum, maximum
        Inclusive range of a number or integer.
    choices
        Levels of a category; (false, true) of a flag; (stayed, churned) of the target.
    format
        Order of day and month in a date or time such as 05/03/2024. "iso": such texts are refused. Texts that begin
        with the year are always read.
    open
        Whether a category accepts other levels, which are all encoded as `other`. A category with `open: false`, a flag
        and the target refuse them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: Name
    kind: Kind
    alias: str | None = None
    label: str = ""
    unit: str = ""
    why: str = ""
    action: str = ""
    description: str = ""
    required: bool = Field(default=True, strict=True)
    sensitive: bool = Field(default=False, strict=True)
    personal: bool = Field(default=False, strict=True)
    actionable: bool = Field(default=False, strict=True)
    nullable: bool = Field(default=False, strict=True)
    minimum: float | None = Field(default=None, strict=True, allow_inf_nan=False)
    maximum: float | None = Field(default=None, strict=True, allow_inf_nan=False)
    choices: tuple[str, ...] = Field(default=(), max_length=MAX_CHOICES)
    format: DateFormat = "iso"
    open: bool = Field(default=True, strict=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.is_number and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"column '{self.name}': only a number or integer has a minimum or maximum")
        if not self.is_number and self.unit:
            raise ValueError(f"column '{self.name}': only a number or integer has a unit")
        if self.kind not in ("date", "time") and self.format != "iso":
            raise ValueError(f"column '{self.name}': only a date or time has a format")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"column '{self.name}': minimum {self.minimum} is above maximum {self.maximum}")
        if self.kind in ("flag", "target") and len(self.choices) != 2:
            raise ValueError(f"column '{self.name}': a {self.kind} needs choices: [false value, true value]")
        if self.kind == "category" and not self.choices:
            raise ValueError(f"column '{self.name}': a category needs its choices")
        if self.kind not in ("category", "flag", "target") and self.choices:
            raise ValueError(f"column '{self.name}': a column of kind {self.kind} has no choices")
        if self.sensitive and (self.required or self.kind in ("id", "time", "target")):
            raise ValueError(
                f"column '{self.name}': only a number, integer, category or flag can be sensitive, and it is no input "
                "of a model: write `required: false`"
            )
        if self.personal and self.kind in ("id", "time", "target"):
            raise ValueError(f"column '{self.name}': only a number, integer, category, flag or date can be personal")
        if self.actionable and (not self.required or self.personal or self.kind in ("id", "time", "target")):
            raise ValueError(
                f"column '{self.name}': only an input of the model can be actionable: a required number, integer, "
                "category, flag or date that is not personal"
            )
        if len(set(self.choices)) != len(self.choices):
            raise ValueError(f"column '{self.name}': a choice is listed twice")
        if not self.open and self.kind != "category":
            raise ValueError(f"column '{self.name}': only a category can be declared `open: false`")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out newer fields at their defaults, so that older Schemas keep their bytes and hash."""
        newer = {"format": "iso", "open": True}
        return {
            name: value
            for name, value in without_empty_labels(write(self)).items()
            if name not in newer or value != newer[name]
        }

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """Index of each choice."""
        return {choice: code for code, choice in enumerate(self.choices)}

    def choice(self, text: str) -> str | None:
        """Return the choice that a text means, whatever its spelling (`churnops.spelling`); None if it means none.

        >>> Column(name="plan", kind="category", choices=("Gold", "3")).choice(" gold")
        'Gold'
        """
        return text if text in self.codes else self._spellings.get(plain(text))

    @property
    def is_open(self) -> bool:
        """Whether the column is a category that accepts levels outside its choices."""
        return self.open and self.kind == "category"

    @property
    def other(self) -> float:
        """Code of every level outside the choices of an open category: the number of choices."""
        return float(len(self.choices))

    @cached_property
    def other_level(self) -> str:
        """Text of a level outside the choices, for rows of which only the code is known: "(other)".

        >>> Column(name="plan", kind="category", choices=("gold", "(Other)")).other_level
        '((other))'
        """
        text = "(other)"
        while self.choice(text) is not None:
            text = f"({text})"
        return text

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Text of each code: the choices, and `other_level` of an open category."""
        return (*self.choices, self.other_level) if self.is_open else self.choices

    def level(self, text: str) -> str:
        """Return the choice that a text means, or else the text itself, cut after `MAX_LEVEL` characters.

        >>> plan = Column(name="plan", kind="category", choices=("Gold", "Basic"))
        >>> plan.level(" gold"), plan.level("Platin")
        ('Gold', 'Platin')
        """
        choice = self.choice(text)
        if choice is not None:
            return choice
        return text if len(text) <= MAX_LEVEL else f"{text[:MAX_LEVEL]}…"

    @cached_property
    def _spellings(self) -> Mapping[str, str]:
        return spellings(self.choices, is_flag=self.kind in ("flag", "target"))

    @property
    def is_number(self) -> bool:
        """Whether values are numbers: of a number or integer."""
        return self.kind in ("number", "integer")

    @property
    def numeric(self) -> bool:
        """Whether encoded values are quantities: of a number, integer or date."""
        return self.is_number or self.kind == "date"

    def text(self, value: float) -> str:
        """Return an encoded quantity as text: a number with six digits, or a date.

        >>> Column(name="spend", kind="number").text(12.3456789), Column(name="since", kind="date").text(19787.5)
        ('12.3457', '2024-03-05')
        """
        return day_text(value) if self.kind == "date" else f"{value:.6g}"

    @property
    def full_name(self) -> str:
        """Name for messages: the snake_case name, and the raw header if it differs."""
        return f"{self.name} ('{self.alias}')" if self.alias and self.alias != self.name else self.name


CUSTOMER_ID = Column(
    name="customer_id", kind="id", required=False, nullable=True, description="A string that is unique to each customer"
)
"""Column of the customer's id if the Schema declares none."""


class Schema(BaseModel):
    """The columns of the customer table, in order; exactly one is the target, at most one the id.

    Parameters
    ----------
    missing
        Texts that mean a missing value, besides an empty cell, in columns that do not have them as a choice.
    encoding
        Encoding of a CSV that is neither UTF-8 nor has a byte-order mark.
    decimal
        Decimal mark of numbers in texts. A CSV whose separator is not a comma may have decimal commas anyway.
    thousands
        Mark between groups of three digits of numbers in texts; empty: none.

    Examples
    --------
    >>> schema = Schema(columns=(
    ...     Column(name="minutes", kind="number", alias="Total minutes", minimum=0),
    ...     Column(name="churn", kind="target", choices=("False", "True"))))
    >>> schema.rename(["Total minutes", "churn", "note"])
    {'Total minutes': 'minutes', 'churn': 'churn'}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    columns: tuple[Column, ...] = Field(min_length=2, max_length=MAX_COLUMNS)
    missing: tuple[Annotated[str, StringConstraints(min_length=1, max_length=40)], ...] = Field(
        default=(), max_length=MAX_MISSING_WORDS
    )
    encoding: Encoding = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the forms of texts that are the default, so that older Schemas keep their bytes and hash."""
        return {
            name: value
            for name, value in write(self).items()
            if name not in _FORMS or (value and value != _FORMS[name])
        }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}: they must differ")
        headers = [h for c in self.columns for h in dict.fromkeys((c.name, c.alias or c.name))]
        twice = sorted(header for header, count in Counter(headers).items() if count > 1)
        if twice:
            raise ValueError(f"these names or aliases are declared twice: {', '.join(twice[:MAX_ERRORS])}")
        if reserved := sorted(
            h for h in headers if (h in RESERVED and h not in (WARNINGS, DECISION, ARM)) or is_marked([h])
        ):
            raise ValueError(f"'{reserved[0]}' is a column that churnops adds: rename yours")
        kinds = [c.kind for c in self.columns]
        if kinds.count("target") != 1:
            raise ValueError("exactly one column must be of kind target")
        if kinds.count("id") > 1 or kinds.count("time") > 1:
            raise ValueError("at most one column may be of kind id, and one of kind time")
        if not self.model_inputs:
            raise ValueError("at least one required number, integer, category, flag or date is needed to predict from")
        return self

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Columns by snake_case name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def target(self) -> Column:
        """The outcome: churned or stayed."""
        return next(column for column in self.columns if column.kind == "target")

    @cached_property
    def identifier(self) -> Column | None:
        """The customer's id, or None. Never a model input, never in a bundle."""
        return next((column for column in self.columns if column.kind == "id"), None)

    @cached_property
    def time(self) -> Column | None:
        """The time of the row, or None. Never a model input."""
        return next((column for column in self.columns if column.kind == "time"), None)

    @cached_property
    def inputs(self) -> tuple[Column, ...]:
        """Columns that describe a customer: numbers, integers, categories, flags and dates."""
        return tuple(c for c in self.columns if c.numeric or c.kind in ("category", "flag"))

    @cached_property
    def model_inputs(self) -> tuple[Column, ...]:
        """Inputs that a model may use: the required ones."""
        return tuple(column for column in self.inputs if column.required)

    @cached_property
    def added(self) -> tuple[str, ...]:
        """Columns that scoring adds and the Schema lacks. In a file to be scored they are ignored, and made anew."""
        return tuple(name for name in RESERVED if name not in self._headers)

    @cached_property
    def personal(self) -> frozenset[str]:
        """Names of the personal columns. Code that writes customers' values leaves these columns out."""
        return frozenset(column.name for column in self.columns if column.personal)

    def without_personal(self, columns: Columns) -> dict[str, NDArray[np.float64]]:
        """Return encoded columns without the personal ones."""
        return {name: values for name, values in columns.items() if name not in self.personal}

    @cached_property
    def _headers(self) -> Mapping[str, str]:
        return {header: c.name for c in self.columns for header in (c.name, c.alias) if header}

    def rename(self, headers: Iterable[str]) -> dict[str, str]:
        """Map declared headers to snake_case names; leave out the others.

        Blanks around a header do not count, unless another header has none.

        Raises
        ------
        DataError
            If two headers belong to the same column, or a header is repeated.
        """
        headers = list(headers)
        given = set(headers)
        names: dict[str, str] = {}
        taken: set[str] = set()
        for header in headers:
            name = self._headers.get(header)
            if name is None and header.strip() not in given:
                name = self._headers.get(header.strip())
            if name is None:
                continue
            if name in taken:
                raise DataError(f"column {self.by_name[name].full_name} is given twice: keep one of its headers")
            taken.add(name)
            names[header] = name
        return names

    def closest_header(self, name: str, headers: Iterable[str]) -> str | None:
        """Return the header closest to the name or alias of a column, if one of the first 1,000 is close enough.

        Case, blanks, underscores and other signs do not count.
        """
        plain = {_plain(header): header for header in islice(headers, MAX_HINTS)}
        for meant in (name, self.by_name[name].alias or name):
            if close := difflib.get_close_matches(_plain(meant), plain, n=1, cutoff=0.8):
                return plain[close[0]]
        return None
