"""Columns of a CSV that are read, and the bytes of the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnops.data.dialect import Dialect
from churnops.data.parquet_columns import Others, is_needed, wanted_columns
from churnops.data.text_columns import as_text
from churnops.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class CsvColumns:
    """Columns for Arrow's reader, named by their positions, because Arrow would replace empty headers.

    Attributes
    ----------
    types
        Type of each column of the file. A column outside the Schema is bytes, which need not be UTF-8.
    parsed
        Columns to read, at least one.
    result
        Headers of the result and the column of each; None if the column is not read, so the result is null.
    """

    types: dict[str, Any]
    parsed: list[str]
    result: dict[str, str | None]

    @classmethod
    def of(cls, path: Path, dialect: Dialect, schema: Schema | None, others: Others) -> "CsvColumns":
        """Choose the columns; see `churnops.data.batches.open_batches` for `others`."""
        import pyarrow as pa

        headers = dialect.headers
        wanted = wanted_columns(headers, path, schema, others)
        needed = [schema is None or is_needed(header, schema) for header in headers]
        types = {str(place): pa.string() if is_text else pa.binary() for place, is_text in enumerate(needed)}
        result: dict[str, str | None] = {
            header: str(place) if is_wanted else None
            for place, (header, is_wanted) in enumerate(zip(headers, wanted, strict=True))
            if is_wanted or others == "names"
        }
        parsed = [name for name in result.values() if name is not None]
        if not parsed:  # a table without columns has no rows
            result |= dict.fromkeys(headers)
        return cls(types, parsed or ["0"], result)

    def complete(self, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        """Return rows with the headers of the result, as text or null."""
        import pyarrow as pa

        arrays = [pa.nulls(batch.num_rows) if name is None else batch.column(name) for name in self.result.values()]
        texts = [as_text(array) if pa.types.is_binary(array.type) else array for array in arrays]
        return pa.RecordBatch.from_arrays(texts, names=[*self.result])
