"""A file of customers: checked against limits, scored as a whole, and ranked by risk with reasons in words."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churnops.app.predict.answers import MEDIA_TYPES, AnsweredFile, Answers, Card, Kind, NotAnswered, refused
from churnops.app.predict.risk import feature_values, level, reason
from churnops.app.shared.text import one_line
from churnops.data.accepted import Accepted
from churnops.data.batches import count_rows, open_batches, replaced_columns, unpacked_bytes
from churnops.data.read import encode
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.data.validate import check_customers
from churnops.errors import ChurnopsError
from churnops.files import temporary_file
from churnops.limits import PAGES_BYTES
from churnops.model import Bundle
from churnops.schema import Schema
from churnops.scoring.table import EXPLANATIONS

MAX_MIB = 50
MAX_ROWS = 100_000
LISTED = 500
REASONS = 3
LARGER = "For a larger file, use `churnops predict IN OUT --explain`."


@dataclass(frozen=True)
class ScoredUpload:
    """A scored file and its customers with the highest risk.

    Attributes
    ----------
    content, name, media_type
        File for the download, with the given columns and the columns of the answer.
    replaced
        Columns of the file that the columns of the answer replace.
    unexpected
        A sentence for each column with unknown levels or unexpected empty cells.
    rows, leaving
        Numbers of all customers and of customers at or above the threshold.
    risks
        The `LISTED` customers with the highest probability, highest first: `Rank`, `Row` (counted from 1 in the file),
        `Customer` if the Schema has an id, `Probability`, `Risk` and three reasons in words.
    """

    content: bytes
    name: str
    media_type: str
    rows: int
    leaving: int
    version: str
    risks: pl.DataFrame
    replaced: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def kind_of(name: str) -> Kind:
    """Return the kind of a file from the ending of its name.

    Raises
    ------
    NotAnswered
        If the ending is neither .csv nor .parquet.
    """
    endings: dict[str, Kind] = {".csv": "csv", ".parquet": "parquet"}
    kind = endings.get(Path(name).suffix.lower())
    if kind is None:
        raise NotAnswered("The file must be a CSV or Parquet table: its name must end in .csv or .parquet.")
    return kind


def score_file(
    name: str, content: bytes, answers: Answers, card: Card, bundle: Bundle | None, *, lenient: bool = False
) -> ScoredUpload:
    """Score a file of customers, either every row or none.

    Parameters
    ----------
    name
        The user's name for the file; no file of this name is read.
    bundle
        Model of `card`, if it is on this machine; it computes the values of derived features.
    lenient
        As for `Answers.file`.

    Raises
    ------
    NotAnswered
        If the file is too large, cannot be read or breaks the Schema, or the API does not answer.
    """
    kind = kind_of(name)
    if len(content) > MAX_MIB << 20:
        raise NotAnswered(f"The file is larger than {MAX_MIB} MiB. {LARGER}")
    file, path = temporary_file(f".{kind}")
    with file:
        file.write(content)
        file.flush()
        try:
            _check_size(path, kind, card.schema)
            replaced = tuple(replaced_columns(path, card.schema, format=kind))
            answered = answers.file(path, kind, lenient=lenient)
            version = str(answered.table.get_column("model_version")[0])
            unexpected = _unexpected(path, kind, card.schema) if version == card.version else []
        except NotAnswered as error:
            raise NotAnswered(str(error).replace(str(path), "the file"), error.broken) from None
        except ChurnopsError as error:
            raise NotAnswered(str(refused(error)).replace(str(path), "The file")) from None
    stem = one_line(Path(name).stem, 80) or "customers"
    leaves = answered.table.get_column("churn_prediction").cast(pl.String) == "true"
    if version != card.version:  # another model was deployed after the card was read
        bundle = None
    return ScoredUpload(
        content=answered.content,
        name=f"{stem}-scored.{kind}",
        media_type=MEDIA_TYPES[kind],
        rows=answered.table.height,
        leaving=int(leaves.sum()),
        version=version,
        risks=ranked(answered, card, bundle),
        replaced=replaced,
        unexpected=tuple(unexpected),
    )


def _check_size(path: Path, kind: Kind, schema: Schema) -> None:
    """Refuse a file with too many customers or decompressed bytes; a small Parquet file may hold many equal texts."""
    rows, unpacked = count_rows(path, format=kind) or 0, 0
    if rows <= MAX_ROWS:
        rows = 0
        for batch in open_batches(path, format=kind, schema=schema, others="all"):
            rows += batch.height
            unpacked += unpacked_bytes(batch)
            if rows > MAX_ROWS or unpacked > PAGES_BYTES:
                break
    if rows > MAX_ROWS:
        raise NotAnswered(f"The file has more than {MAX_ROWS:,} customers. {LARGER}")
    if unpacked > PAGES_BYTES:
        raise NotAnswered(f"The file has more than {PAGES_BYTES >> 20} MiB when it is decompressed. {LARGER}")


def _unexpected(path: Path, kind: Kind, schema: Schema) -> list[str]:
    """Return a sentence for each column with unknown levels or unexpected empty cells; the API does not count them."""
    cells = UnexpectedCells()
    for batch in open_batches(path, format=kind, schema=schema):
        customers = _checked(batch, schema)
        cells = cells.merge(UnexpectedCells.of(customers, encode(customers, schema), schema, cells.rows))
    return cells.sentences(schema)


def _checked(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return scored customers with their types."""
    everything = Accepted.everything(schema).missing  # the answer lacks personal columns
    return check_customers(table, schema, "the file", may_lack=everything, may_have_gaps=True)


def ranked(answered: AnsweredFile, card: Card, bundle: Bundle | None, limit: int = LISTED) -> pl.DataFrame:
    """Return the customers with the highest probability, with reasons in words; see `ScoredUpload.risks`."""
    table = answered.table.with_columns(pl.col("churn_probability").cast(pl.Float64)).with_row_index(":row", 1)
    top = table.sort("churn_probability", descending=True, maintain_order=True).head(limit)
    customers = _checked(top, card.schema)
    values = feature_values(card, bundle, encode(customers, card.schema))
    why = [_pairs(given)[:REASONS] for given in top.get_column(EXPLANATIONS)]
    described = [
        [str(reason(name, share, card, values[name][row] if name in values else None)) for name, share in pairs]
        for row, pairs in enumerate(why)
    ]
    columns: dict[str, Sequence[Any]] = {"Rank": range(1, top.height + 1), "Row": top.get_column(":row").to_list()}
    identifier = card.schema.identifier
    if identifier and identifier.name in customers.columns:
        columns["Customer"] = [one_line(given or "", 128) for given in customers.get_column(identifier.name)]
    chances = top.get_column("churn_probability").to_list()
    columns |= {"Probability": chances, "Risk": [level(chance, card.threshold).word for chance in chances]}
    for place, title in enumerate(("First reason", "Second reason", "Third reason")):
        columns[title] = [one_line(texts[place], 200) if place < len(texts) else "" for texts in described]
    return pl.DataFrame({name: list(values) for name, values in columns.items()})


def _pairs(given: Any) -> list[tuple[str, float]]:
    """Return contributions from a typed table, or from the JSON in a CSV."""
    listed = json.loads(given) if isinstance(given, str) else given
    return [(str(pair["feature"]), float(pair["shap_value"])) for pair in listed]
