"""Sources of predictions on the Predict page, with one interface: the API in the settings, or the deployed model.

When a slider moves, the page computes the new score itself, with the local model. The API would record the score, or
require a key with the scope `admin` not to record it.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl

from churnops.app.shared.text import one_line
from churnops.data.accepted import Accepted
from churnops.data.batches import open_batches
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.data.validate import ValidationError as BrokenRules
from churnops.errors import ChurnopsError
from churnops.features.build import Feature
from churnops.model import Bundle
from churnops.schema import Schema
from churnops.scoring.csv_answer import csv_of
from churnops.scoring.table import EXPLANATIONS, check_expected, score_table

Customer = Mapping[str, Any]
"""One customer: snake_case names, JSON values; a category or flag as its choice."""
Kind = Literal["csv", "parquet"]

MEDIA_TYPES: Mapping[Kind, str] = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
BATCH = 5000


@dataclass(frozen=True)
class Broken:
    """A broken rule: column, problem, and the places of the first rows that break it, counted from 1."""

    column: str
    problem: str
    rows: str = ""


class NotAnswered(ChurnopsError):  # noqa: N818  (a refusal, which the page shows as a result)
    """No prediction was made. The message names the reason and the remedy; `broken` lists broken rules."""

    def __init__(self, message: str, broken: tuple[Broken, ...] = ()) -> None:
        super().__init__(message)
        self.broken = broken


@dataclass(frozen=True)
class Card:
    """Description of the model that predicts.

    Attributes
    ----------
    features
        Features that the model reads, by name, in the model's order.
    scale
        Scale of explanations: log-odds or probability.
    """

    version: str
    threshold: float
    scale: str
    schema: Schema
    features: Mapping[str, Feature]

    @classmethod
    def of(cls, bundle: Bundle) -> "Card":
        """Describe a bundle."""
        by_name = {feature.name: feature for feature in bundle.features}
        features = {name: by_name[name] for name in bundle.selected}
        return cls(bundle.version_name, bundle.threshold, bundle.explanation_scale, bundle.schema, features)


@dataclass(frozen=True)
class Answer:
    """A probability with its largest contributions on `scale`. `prediction_id` is None if nothing is recorded."""

    probability: float
    churn: bool
    base_value: float
    scale: str
    contributions: tuple[tuple[str, float], ...]
    version: str
    prediction_id: str | None


@dataclass(frozen=True)
class AnsweredFile:
    """A scored file, as bytes and as a table: the given columns and the columns of the answer."""

    content: bytes
    table: pl.DataFrame


class Answers(Protocol):
    """Source of predictions. Every method raises NotAnswered if it has no answer."""

    source: str
    """Name of the source in words."""
    records: bool
    """Whether predictions are recorded in the journal."""

    def card(self) -> Card:
        """Describe the model that predicts now."""

    def one(self, customer: Customer) -> Answer:
        """Score one customer."""

    def file(self, path: Path, kind: Kind, *, lenient: bool = False) -> AnsweredFile:
        """Score a file of customers, either every row or none.

        `lenient` accepts many unknown levels and empty cells, and a file without some of the columns.
        """


class BundleAnswers:
    """Predictions by the deployed model in this process."""

    source, records = "the deployed model on this machine", False

    def __init__(self, bundle: Bundle, *, safe_csv: bool = False) -> None:
        self._bundle = bundle
        self._safe_csv = safe_csv

    def card(self) -> Card:
        """See `Answers`."""
        return Card.of(self._bundle)

    def one(self, customer: Customer) -> Answer:
        """See `Answers`."""
        table = pl.DataFrame({name: [value] for name, value in customer.items()}, strict=False)
        try:
            scored = score_table(table, self._bundle, "the customer", explain=True)
        except ChurnopsError as error:
            raise refused(error) from None
        row = scored.table.row(0, named=True)
        contributions = tuple((pair["feature"], pair["shap_value"]) for pair in row[EXPLANATIONS])
        return Answer(
            row["churn_probability"],
            row["churn_prediction"],
            row["base_value"],
            row["explanation_scale"],
            contributions,
            row["model_version"],
            None,
        )

    def file(self, path: Path, kind: Kind, *, lenient: bool = False) -> AnsweredFile:
        """See `Answers`."""
        pieces: list[pl.DataFrame] = []
        above, cells = 0, UnexpectedCells()
        accepted = Accepted.everything(self._bundle.schema) if lenient else Accepted()
        try:
            for batch in open_batches(path, rows=BATCH, format=kind, schema=self._bundle.schema, others="all"):
                scored = score_table(
                    batch,
                    self._bundle,
                    "the file",
                    explain=True,
                    first_row=above,
                    may_lack=accepted.missing,
                    may_have_gaps=True,
                )
                pieces.append(scored.table)
                above += batch.height
                cells = cells.merge(scored.unexpected)
            check_expected(cells, self._bundle, "the file", accepted)
            table = pl.concat(pieces)
            content = csv_of(table, safe=self._safe_csv) if kind == "csv" else _parquet_of(table)
        except ChurnopsError as error:
            raise refused(error) from None
        return AnsweredFile(content, table)


def refused(error: ChurnopsError) -> NotAnswered:
    """Convert an error of reading or scoring to a refusal with every broken rule."""
    if not isinstance(error, BrokenRules):
        return NotAnswered(one_line(str(error).partition("\n")[0]))
    broken = tuple(
        Broken(
            one_line(failure.column or ""),
            one_line(
                failure.message
                + (f", such as {', '.join(dict.fromkeys(map(repr, failure.examples)))}" if failure.examples else "")
            ),
            ", ".join(map(str, failure.rows)) + (", …" if failure.count > len(failure.rows) and failure.rows else ""),
        )
        for failure in error.failures
    )
    rules = "1 rule of the customer table is" if len(broken) == 1 else f"{len(broken)} rules of the customer table are"
    return NotAnswered(f"Nothing was scored: {rules} broken.", broken)


def _parquet_of(table: pl.DataFrame) -> bytes:
    """Return a table as the content of a Parquet file."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()
