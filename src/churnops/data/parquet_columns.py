"""Readable columns of a Parquet file: Polars would panic at a type that it does not support."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from churnops.errors import DataError
from churnops.schema import Schema, is_marked

if TYPE_CHECKING:
    import pyarrow as pa


def readable_columns(declared: "pa.Schema", path: Path, schema: Schema | None) -> "pa.Schema":
    """Return the readable columns of a file, with the types to read them as.

    A time zone that Polars does not know, such as +05:30, becomes UTC: the moments stay the same. A column of any other
    type that Polars lacks is left out.

    Raises
    ------
    DataError
        If Polars lacks the type of a column of `schema`, of the mark of simulated customers, or of all columns.

    Examples
    --------
    >>> import pyarrow as pa
    >>> declared = pa.schema({"at": pa.timestamp("us", "+05:30"), "fee": pa.decimal256(60, 2), "calls": pa.int64()})
    >>> [f"{field.name}: {field.type}" for field in readable_columns(declared, Path("customers.parquet"), None)]
    ['at: timestamp[us, tz=UTC]', 'calls: int64']
    """
    import pyarrow as pa

    fields = []
    for field in declared:
        kind = _readable_type(field.type)
        if kind is not None:
            fields.append(field.with_type(kind))
        elif (schema is not None and schema.rename([field.name])) or is_marked([field.name]):
            raise DataError(
                f"{path}: column {field.name!r} has type {field.type}, which churnops does not read: write the column "
                "with another type"
            )
    if len(declared) and not fields:
        raise DataError(f"{path} has no column with a type that churnops reads")
    return pa.schema(fields, metadata=declared.metadata)


def _readable_type(kind: Any) -> Any:
    """Return the type to read a column as; None if Polars has none."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_timestamp(kind):
        return kind if kind.tz is None or _known_zone(kind.tz) else pa.timestamp(kind.unit, "UTC")
    if types.is_dictionary(kind):
        return kind if _is_plain(kind.value_type) else None
    if types.is_struct(kind):
        return kind if all(_stays(kind.field(place).type) for place in range(kind.num_fields)) else None
    if types.is_map(kind):
        return kind if _stays(kind.key_type) and _stays(kind.item_type) else None
    if isinstance(kind, pa.BaseExtensionType):
        return kind if _stays(kind.storage_type) else None
    if types.is_list(kind) or types.is_large_list(kind) or (types.is_fixed_size_list(kind) and kind.list_size):
        return kind if _stays(kind.value_type) else None
    return kind if _is_plain(kind) else None


def leaves_of(kind: Any) -> int:
    """Return the number of stored columns (leaves) of a type.

    >>> import pyarrow as pa
    >>> leaves_of(pa.list_(pa.struct({"a": pa.int8(), "b": pa.map_(pa.string(), pa.int8())})))
    3
    """
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return leaves_of(kind.storage_type)
    if not pa.types.is_nested(kind) or pa.types.is_dictionary(kind):
        return 1
    return sum(leaves_of(kind.field(place).type) for place in range(kind.num_fields))


def _stays(kind: Any) -> bool:
    return bool(_readable_type(kind) == kind)


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    decimal = types.is_decimal(kind) and not types.is_decimal256(kind)
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)
    moment = types.is_date(kind) or types.is_time(kind) or types.is_duration(kind)
    return bool(decimal or text or binary or types.is_binary_view(kind) or number or moment)


def _known_zone(zone: str) -> bool:
    try:
        pl.Series([0]).cast(pl.Datetime("us", zone))
    except pl.exceptions.PolarsError:
        return False
    return True
