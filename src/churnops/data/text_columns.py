"""Texts of Arrow columns that are not UTF-8, although their type promises it: Polars must not receive them."""

from pathlib import Path
from typing import Any

from churnops.errors import DataError


def with_valid_text(column: Any, name: str, *, needed: bool, path: Path, above: int) -> Any:
    r"""Return a column whose texts are UTF-8.

    In a column that is not needed, U+FFFD replaces each byte that is not UTF-8, and null replaces a list or struct with
    such a text.

    Parameters
    ----------
    needed
        Whether such a text is an error.
    above
        Number of the file's rows above the column's first one.

    Raises
    ------
    DataError
        If a text of a needed column is not UTF-8.

    Examples
    --------
    >>> import pyarrow as pa
    >>> text = pa.array([b"caf\xe9", None, b"x"]).view(pa.string())
    >>> with_valid_text(text, "note", needed=False, path=Path("a.parquet"), above=0).to_pylist()
    ['caf�', None, 'x']
    """
    if not _has_text(column.type) or _is_valid(column):
        return column
    if needed:
        row = next(row for row in range(len(column)) if not _is_valid(column.take([row])))
        raise DataError(f"{path}: row {above + row + 1} is not UTF-8 text in column {name!r}")
    return _repaired(column)


def as_text(column: Any) -> Any:
    """Return a column of bytes as text, with U+FFFD in place of each byte that is not UTF-8."""
    import pyarrow as pa

    text = column.view(pa.string())
    return text if _is_valid(text) else _repaired(text)


def _is_valid(column: Any) -> bool:
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _has_text(kind: Any) -> bool:
    import pyarrow as pa
    from pyarrow import types

    if isinstance(kind, pa.BaseExtensionType):
        return _has_text(kind.storage_type)
    if types.is_dictionary(kind):
        return _has_text(kind.value_type)
    if types.is_nested(kind):
        return any(_has_text(kind.field(place).type) for place in range(kind.num_fields))
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _repaired(column: Any) -> Any:
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(column.indices, _repaired(column.dictionary), ordered=kind.ordered)
    if types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        parts = [column.take([row]) for row in range(len(column))]
        return pa.concat_arrays([part if _is_valid(part) else pa.nulls(1, kind) for part in parts])
    texts = (value.as_buffer() for value in column)
    return pa.array([None if text is None else bytes(text).decode(errors="replace") for text in texts], kind)
