"""Columns of a file that are read: those of the Schema, and others if they are passed on to an answer."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from churnops.errors import DataError
from churnops.schema import RESERVED, Schema, is_marked

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Others = Literal["names", "flat", "all"]
"""Reading of columns outside the Schema: only their names, those that a CSV can hold, or all that can be read."""


def wanted_columns(headers: Sequence[str], path: Path, schema: Schema | None, others: Others) -> list[bool]:
    """Return whether each column is read. Without a Schema all are.

    Columns outside the Schema are not read if they are repeated, or have the name of a column that scoring adds.

    If `others` is "names", repeated columns are refused without a Schema; otherwise they are left out.

    Raises
    ------
    DataError
        If a header that is read is repeated.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> schema = Schema(columns=(
    ...     Column(name="calls", kind="integer"), Column(name="churn", kind="target", choices=("False", "True"))))
    >>> headers = ["calls", "note", "", "", "model_version"]
    >>> [wanted_columns(headers, Path("a.csv"), schema, others) for others in ("names", "all")]
    [[True, False, False, False, False], [True, True, False, False, False]]
    """
    counts = Counter(headers)
    wanted = []
    for header in headers:
        needed = schema is None or is_needed(header, schema)
        if schema is None and others != "names":
            needed = counts[header] == 1
        elif needed and counts[header] > 1:
            raise DataError(f"{path}: several columns have the header {header!r}: rename all but one")
        wanted.append(needed or (others != "names" and counts[header] == 1 and header not in RESERVED))
    return wanted


def is_needed(header: str, schema: Schema) -> bool:
    """Whether a column is one of the Schema, or marks simulated customers."""
    return bool(schema.rename([header])) or is_marked([header])


def readable_columns(
    file: "pq.ParquetFile", path: Path, schema: Schema | None, others: Others
) -> "list[pa.Field | None]":
    """Return each column of a Parquet file with the type to read it as; None for a column that is not read.

    A time zone that Polars does not know, such as +05:30, becomes UTC: the moments stay the same. A column of any other
    type that Polars lacks is not read.

    Raises
    ------
    DataError
        If a column of `schema`, or the mark of simulated customers, is repeated or has a type that Polars lacks; or
        without a `schema`, if all columns have such types.
    """
    declared = file.schema_arrow
    wanted = wanted_columns(declared.names, path, schema, others)
    fields: list[pa.Field | None] = []
    first = 0
    for field, is_wanted in zip(declared, wanted, strict=True):
        kind = _readable_type(field.type) if is_wanted else None
        needed = schema is not None and is_needed(field.name, schema)
        if kind is None and needed:
            raise DataError(
                f"{path}: column {field.name!r} has type {field.type}, which churnops does not read: write the column "
                "with another type"
            )
        if kind is not None and not needed and not _can_be_passed(kind, others, file.metadata, first):
            kind = None
        fields.append(None if kind is None else field.with_type(kind))
        first += leaves_of(field.type)
    if schema is None and fields and not any(fields):
        raise DataError(f"{path} has no column with a type that churnops reads")
    return fields


def _can_be_passed(kind: Any, others: Others, metadata: "pq.FileMetaData", leaf: int) -> bool:
    """Whether a column outside the Schema can be passed on; pyarrow cannot read a missing list of fixed size."""
    import pyarrow as pa
    from pyarrow import types

    if others == "flat" and not is_flat(kind):
        return False
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if not types.is_fixed_size_list(kind):
        return True
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    whole = (group.column(leaf).num_values == group.num_rows * kind.list_size for group in groups)
    return bool(kind.list_size > 1 and all(whole))  # a missing list has one value in the file


def is_flat(kind: Any) -> bool:
    """Whether a CSV can hold a type: a number, truth value, text, date or time."""
    import pyarrow as pa
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    sized = types.is_fixed_size_binary(kind) or types.is_duration(kind)
    return not (binary or sized or types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType))


def _readable_type(kind: Any) -> Any:
    """Return the type to read a column as; None if Polars has none."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_timestamp(kind):
        return kind if kind.tz is None or _known_zone(kind.tz) else pa.timestamp(kind.unit, "UTC")
    if types.is_dictionary(kind):
        return kind if _is_plain(kind.value_type) else None
    if types.is_struct(kind):
        parts = [kind.field(place) for place in range(kind.num_fields)]
        unique = len({part.name for part in parts}) == len(parts)
        return kind if unique and all(_stays(part.type) for part in parts) else None
    if types.is_map(kind):
        return kind if _stays(kind.key_type) and _stays(kind.item_type) else None
    if isinstance(kind, pa.BaseExtensionType):
        return kind if _readable_type(kind.storage_type) == kind.storage_type else None
    if types.is_fixed_size_list(kind):
        return kind if kind.list_size and _is_plain(kind.value_type) and _stays(kind.value_type) else None
    if types.is_list(kind) or types.is_large_list(kind):
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
    """Whether a part of a nested type is read with its own type."""
    from pyarrow import types

    views = types.is_string_view(kind) or types.is_binary_view(kind)  # pyarrow lacks their cast within lists
    return bool(_readable_type(kind) == kind and not views and not types.is_fixed_size_list(kind))


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
