"""Document: base of pydantic models that write and read a JSON document, and give its JSON Schema.

Writing is strict: a value of the wrong type is an error. Reading is lenient, because the file may be older or edited. A
missing or wrong value becomes None, or the empty value of its type.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

MAX_TEXT = 2000
MAX_ITEMS = 50
_READING: Mapping[str, Any] = {"reading": True}
_BLANKS: tuple[Any, ...] = (None, "", (), {}, False)


def _moment(value: object) -> object:
    """Return a time in UTC.

    Raises
    ------
    ValueError
        If the value is neither a time nor ISO 8601 text, or has no zone.
    """
    if value is None:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if time.tzinfo is None:
            raise ValueError("a time without a zone")
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time before year 1 or after year 9999") from None


def _seconds(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")


Number = Annotated[float, Strict(), Field(allow_inf_nan=False)] | None
"""A finite number; None if unknown."""
Share = Annotated[Number, Field(json_schema_extra={"minimum": 0, "maximum": 1})]
"""A number in [0, 1]; None if unknown."""
Flag = Annotated[bool, Strict()]
MaybeCount = Annotated[
    Annotated[int, Strict(), Field(ge=0, lt=10**12)] | None,
    WithJsonSchema({"type": ["integer", "null"], "minimum": 0}),
]
Count = Annotated[MaybeCount, WithJsonSchema({"type": "integer", "minimum": 0})]
"""A whole number, at least 0. It is None only after `read`, if the document lacks it or has a wrong value."""
MaybeMoment = Annotated[datetime | None, BeforeValidator(_moment), PlainSerializer(_seconds)]
Moment = Annotated[MaybeMoment, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time in UTC, written to the second. It is None only after `read`, if it is missing or wrong in the document."""


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Document(BaseModel):
    """A JSON object with known keys.

    Attributes
    ----------
    limits
        Largest number of items to read from a list or object, by field; `MAX_ITEMS` for other fields.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True, json_schema_extra={"additionalProperties": False})
    limits: ClassVar[Mapping[str, int]] = {}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return the document for a file's JSON object; cut texts, lists and objects to their limits.

        >>> class Drift(Document):
        ...     name: str
        ...     effect: Number
        >>> Drift.read({"name": "minutes", "effect": "large"})
        Drift(name='minutes', effect=None)
        """
        return cls.model_validate(document, context=_READING)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types, in the order of the fields."""
        return self.model_dump(mode="json")

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of a written document."""
        schema = cls.model_json_schema(schema_generator=_Untitled)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context is not _READING:
            return value
        given = value if isinstance(value, dict) else {}
        required = {name: None for name, field in cls.model_fields.items() if field.is_required()}
        return required | {name: given[name] for name in cls.model_fields if name in given}

    @field_validator("*", mode="wrap")
    @classmethod
    def _known(cls, value: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        if info.context is not _READING:
            return handler(None if isinstance(value, float) and not math.isfinite(value) else value)
        limit = cls.limits.get(info.field_name or "", MAX_ITEMS)
        for candidate in (_bounded(value, limit), *_BLANKS):
            with suppress(ValueError):
                return handler(candidate)
        return None


def _bounded(value: Any, limit: int) -> Any:
    """Cut a text, list or object to its limit; a number beyond the range of floats becomes None."""
    match value:
        case str():
            return value[:MAX_TEXT]
        case list():
            return [item[:MAX_TEXT] if isinstance(item, str) else item for item in value[:limit]]
        case dict():
            return dict(islice(value.items(), limit))
        case float() if not math.isfinite(value):
            return None
        case int() if abs(value) > 2**1000:
            return None
    return value
