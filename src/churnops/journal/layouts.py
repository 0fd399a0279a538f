"""Layouts: how the inputs and reasons of predictions are packed into bytes.

A layout lists the columns of a record in order. Each value then has a fixed place in the packed bytes: a number or date
is a little-endian float64, a text is the index of its level as int16. A value that has no place stays JSON, in the
prediction's `rest`, so that nothing is lost. All predictions of one model share a layout.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic_core import from_json, to_json

from churnops.dates import date_text, days_of
from churnops.schema import Schema

if TYPE_CHECKING:
    from churnops.model import Bundle

Kind = Literal["number", "integer", "date", "level"]
NULL, ABSENT = -1, -2
"""Codes of a level that is null, and of one without a place in the bytes: not given, or in `rest`."""
MAX_WHOLE = 2**53  # the largest range in which a float64 holds every whole number
MAX_LEVELS = 32_000
_NULL_BYTES, _ABSENT_BYTES = bytes.fromhex("000000000000f87f"), bytes.fromhex("010000000000f87f")  # two NaNs
NULL_NUMBER, ABSENT_NUMBER = struct.unpack("<2d", _NULL_BYTES + _ABSENT_BYTES)
"""The same for a number or date."""
_INPUTS, _REASONS = "inputs", "top_shap_features"  # keys of `rest`
_MISSING = object()


class LayoutColumn(NamedTuple):
    """One column of a record; `levels` are the texts of a column of kind "level"."""

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()


class Packed(NamedTuple):
    """Inputs and reasons as bytes, and as JSON those that have no place there. `reasons` is None without any."""

    inputs: bytes
    reasons: bytes | None
    rest: str | None


@dataclass(frozen=True)
class Layout:
    """Form of packed predictions, and the values that all of them share.

    Parameters
    ----------
    model_version, content_sha256, base_value, explanation_scale
        As in `PredictionRow`.
    columns
        Columns of the packed inputs, in order.
    features
        Names of the features that reasons refer to by index, 65,536 at most.

    Examples
    --------
    >>> columns = (LayoutColumn("minutes", "number"), LayoutColumn("plan", "level", ("No", "Yes")))
    >>> layout = Layout("v1", "f" * 64, None, None, columns)
    >>> packed = layout.pack({"minutes": 3.5, "plan": "Maybe"})
    >>> len(packed.inputs), packed.rest
    (10, '{"inputs":{"plan":"Maybe"}}')
    >>> layout.record(packed.inputs, packed.rest)
    {'minutes': 3.5, 'plan': 'Maybe'}
    """

    model_version: str
    content_sha256: str
    base_value: float | None
    explanation_scale: str | None
    columns: tuple[LayoutColumn, ...]
    features: tuple[str, ...] = ()

    @classmethod
    def of_bundle(cls, bundle: "Bundle") -> Self:
        """Return the layout of a model's predictions."""
        return cls.of_schema(
            bundle.schema,
            bundle.selected,
            model_version=bundle.version_name,
            content_sha256=bundle.content_sha256,
            base_value=bundle.base_value,
            explanation_scale=bundle.explanation_scale,
        )

    @classmethod
    def of_schema(cls, schema: Schema, features: Sequence[str], **shared: Any) -> Self:
        """Return the layout of a model's customers; `shared` are the first four parameters."""
        columns = (
            LayoutColumn(column.name, _KINDS.get(column.kind, "level"), column.choices[:MAX_LEVELS])
            for column in schema.columns
            if column.kind not in ("target", "id")
        )
        return cls(columns=tuple(columns), features=tuple(features), **shared)

    @cached_property
    def document(self) -> str:
        """The layout as JSON, for `read`."""
        return to_json([getattr(self, name) for name in self.__dataclass_fields__]).decode()

    @classmethod
    def read(cls, document: str) -> Self:
        """Return the layout of a document."""
        version, content, base_value, scale, columns, features = from_json(document)
        named = (LayoutColumn(name, kind, tuple(levels)) for name, kind, levels in columns)
        return cls(version, content, base_value, scale, tuple(named), tuple(features))

    @cached_property
    def id(self) -> int:
        """First 48 bits of the document's SHA-256: the same in every journal, so that rows can be copied."""
        return int.from_bytes(sha256(self.document.encode()).digest()[:6], "big")

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """Type of packed inputs in NumPy; the field of a column is its index as text."""
        forms = ("<i2" if column.kind == "level" else "<f8" for column in self.columns)
        return np.dtype([(str(place), form) for place, form in enumerate(forms)])

    def pack(self, record: Mapping[str, Any]) -> Packed:
        """Pack the JSON values of a record, without reasons."""
        values, rest, absent = [], {}, 0
        for name, kind, place, null, nothing in self._places:
            value = record.get(name, _MISSING)
            packed = place(value) if type(value) is kind else None
            if packed is not None:
                values.append(packed)
            elif value is None:
                values.append(null)
            else:
                values.append(nothing)
                if value is _MISSING:
                    absent += 1
                else:
                    rest[name] = value
        if len(record) + absent > len(self.columns):
            rest |= {name: value for name, value in record.items() if name not in self._names}
        return Packed(self._inputs.pack(*values), None, to_json({_INPUTS: rest}).decode() if rest else None)

    def pack_all(self, record: Mapping[str, Any], reasons: Sequence[Mapping[str, Any]] | None) -> Packed:
        """Pack the JSON values of a record and of its reasons."""
        packed = self.pack(record)
        if reasons is None:
            return packed
        places = self._features
        if all(_is_reason(reason) and reason["feature"] in places for reason in reasons):
            features = [places[reason["feature"]] for reason in reasons]
            return packed._replace(reasons=pack_reasons(features, [reason["shap_value"] for reason in reasons]))
        rest = from_json(packed.rest) if packed.rest else {}
        return packed._replace(rest=to_json({**rest, _REASONS: reasons}).decode())

    def record(self, inputs: bytes, rest: str | None) -> dict[str, Any]:
        """Return the JSON values of packed inputs: the layout's columns in order, then the others of `rest`."""
        others = other_inputs(rest)
        record = {}
        for column, value in zip(self.columns, self._inputs.unpack(inputs), strict=True):
            if column.name in others:
                record[column.name] = others[column.name]
            elif (unpacked := _unpack(column, value)) is not _MISSING:
                record[column.name] = unpacked
        return record | others

    def reasons(self, packed: bytes | None, rest: str | None) -> list[Any] | None:
        """Return packed reasons as they are answered, the largest first; None if there are none."""
        if packed is None:
            others: list[Any] | None = from_json(rest).get(_REASONS) if rest else None
            return others
        count = len(packed) // 10
        numbers = struct.unpack(f"<{count}H{count}d", packed)
        return [
            {"feature": self.features[feature], "shap_value": share}
            for feature, share in zip(numbers[:count], numbers[count:], strict=True)
        ]

    @cached_property
    def _inputs(self) -> struct.Struct:
        return struct.Struct("<" + "".join("h" if column.kind == "level" else "d" for column in self.columns))

    @cached_property
    def _features(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.features)}

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    @cached_property
    def _places(self) -> tuple[tuple[str, type, Callable[[Any], Any], float, float], ...]:
        """Each column with the type of its JSON values, their packed value, and those of null and of no value."""
        numbers = (NULL_NUMBER, ABSENT_NUMBER)
        types: dict[Kind, tuple[type, Callable[[Any], Any]]] = {
            "number": (float, _number),
            "integer": (int, _whole),
            "date": (str, exact_days),
        }
        return tuple(
            (name, str, {level: code for code, level in enumerate(levels)}.get, NULL, ABSENT)
            if kind == "level"
            else (name, *types[kind], *numbers)
            for name, kind, levels in self.columns
        )


def pack_reasons(features: Sequence[int], shares: Sequence[float]) -> bytes:
    """Return reasons as bytes: the indices of the features as uint16, then the contributions as float64."""
    return struct.pack(f"<{len(features)}H{len(shares)}d", *features, *shares)


def other_inputs(rest: str | None) -> dict[str, Any]:
    """Return the JSON values of inputs that are not in the packed bytes, by column."""
    return from_json(rest).get(_INPUTS, {}) if rest else {}


_KINDS: Mapping[str, Kind] = {"number": "number", "integer": "integer", "date": "date", "time": "date"}


def _number(value: float) -> float | None:
    return value if value == value else None


def _whole(value: int) -> int | None:
    return value if -MAX_WHOLE <= value <= MAX_WHOLE else None


def exact_days(text: str) -> float | None:
    """Return a date as days if they give the same text again."""
    try:
        days = days_of(text)
    except ValueError:
        return None
    return days if date_text(days) == text else None


def _is_reason(reason: Any) -> bool:
    return (
        type(reason) is dict
        and list(reason) == ["feature", "shap_value"]
        and type(reason["feature"]) is str
        and type(reason["shap_value"]) is float
    )


def _unpack(column: LayoutColumn, value: float) -> Any:
    if column.kind == "level":
        return None if value == NULL else _MISSING if value == ABSENT else column.levels[int(value)]
    if value != value:
        return _MISSING if struct.pack("<d", value) == _ABSENT_BYTES else None
    if column.kind == "date":
        return date_text(value)
    return int(value) if column.kind == "integer" else value
