"""Uploads of CSV and Parquet. The first upload imports this module, because table libraries take memory and time."""

import io
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet

from churnops.api.challenger import RunningExperiment
from churnops.api.customers import REFUSED
from churnops.api.predictions import SOURCE, of_model
from churnops.api.problems import Problem
from churnops.api.served import Served
from churnops.api.split import SplitAnswers
from churnops.api.uploads.formats import Piece, too_many
from churnops.api.work import Steps
from churnops.data.accepted import Accepted
from churnops.data.batches import Format, count_rows, open_batches, replaced_columns, unpacked_bytes
from churnops.data.read import with_date_texts
from churnops.data.unexpected_cells import UnexpectedCells, unknown_columns
from churnops.data.validate import ValidationError
from churnops.errors import ChurnopsError
from churnops.journal.packing import pack_reason_rows, pack_table
from churnops.journal.predictions import PredictionRow, new_prediction_id
from churnops.limits import PAGES_BYTES, PAGES_SHARE
from churnops.schema import SIMULATED, WARNINGS, Schema, is_marked
from churnops.scoring.arms import Arms, no_challenger
from churnops.scoring.challenged import ChallengedTable, challenge, ids_of
from churnops.scoring.csv_answer import csv_of
from churnops.scoring.table import TOP_FEATURES, ScoredTable, check_expected, score_table
from churnops.settings import ApiSettings
from churnops.wire import FieldError

ROWS = 5000  # scored at once
NAME = "the file"


class TableUpload:
    """Table of customers; the answer is the table with `prediction_id` and the answer's columns added.

    With `warnings` there is a column of warnings too, also if no row has any: the columns of an answer do not depend on
    its rows.
    """

    def __init__(
        self,
        path: Path,
        served: Served,
        split: SplitAnswers,
        writer: "CsvPieces | ParquetPieces",
        limits: ApiSettings,
        key: str | None,
        accepted: Accepted,
        *,
        warnings: bool = False,
    ) -> None:
        self._path = path
        self._max_rows = limits.max_upload_rows
        self._max_bytes = max(PAGES_BYTES, PAGES_SHARE * limits.max_upload_bytes)
        self._key = key
        self._warnings = warnings
        self._served = served
        self._split = split
        self._arms = split.arms(served)  # of the whole answer, whose pieces have the same columns
        self._accepted = accepted
        self._writer = writer
        self._format = writer.format
        self.replaced = replaced_columns(path, served.bundle.schema, format=writer.format)

    def check(self) -> Steps[None]:
        """Read and score the whole file, a batch a step; see `churnops.api.uploads.formats.Upload`."""
        if (count_rows(self._path, format=self._format) or 0) > self._max_rows:
            raise too_many(self._max_rows)
        try:
            cells = UnexpectedCells()
            for batch in self._batches(explain=False):
                cells = cells.merge(batch.scored.unexpected)
                yield
            check_expected(cells, self._served.bundle, NAME, self._accepted)
        except ValidationError as error:
            raise refusal(error, self._served.bundle.schema) from None
        except ChurnopsError as error:
            raise Problem(422, "table", str(error).partition("\n")[0].replace(str(self._path), NAME)) from None

    def scored(self) -> Generator[Piece, None, None]:
        """Yield the answer piece by piece; see `churnops.api.uploads.formats.Upload`."""
        for batch in self._batches(explain=True):
            scored, rows = self._answered(batch)
            added = [pl.Series("prediction_id", [row.id for row in rows])]
            if self._warnings:
                texts = map(self._lines(scored).get, range(scored.table.height))
                added.append(pl.Series(WARNINGS, texts, dtype=pl.List(pl.String)))
            unknown = {name: level.count for name, level in scored.unexpected.unknown.items()}
            own = of_model(self._served, rows)
            columns = {name: values[own] for name, values in scored.columns.items()}
            yield Piece(self._writer.write(scored.table.with_columns(added)), rows, columns, unknown)
        yield Piece(self._writer.end(), [], {}, {})

    def _lines(self, scored: ScoredTable) -> dict[int, list[str]]:
        """Return the warnings of customers by position: contradictions, unknown levels and unexpected empty cells."""
        schema, lines = self._served.bundle.schema, self._served.contradictions.of_rows(scored.columns)
        unknown = unknown_columns(scored.columns, schema) if scored.unexpected.unknown else []
        for row, names in enumerate(unknown):
            for name in names:
                lines.setdefault(row, []).append(f"{schema.by_name[name].full_name} has an unknown level")
        for name in scored.unexpected.empty:
            for row in np.isnan(scored.columns[name]).nonzero()[0].tolist():
                lines.setdefault(row, []).append(f"{schema.by_name[name].full_name} is missing")
        return lines

    def _answered(self, batch: "_AnsweredRows") -> tuple[ScoredTable, list[PredictionRow]]:
        """Let each model answer its arm, if a split runs; return the rows as they are answered and recorded.

        If the split has ended meanwhile, the deployed model answers the other rows.
        """
        rows = self._rows(self._served, batch.scored, batch.ids)
        if self._arms is None:
            return batch.scored, rows
        arms, challenger = self._arms
        running = self._split.running(self._served)
        if running is not None and running.experiment.id != arms.experiment:
            running = None
        done = self._challenged(batch, arms, running)
        if done.challenger is not None and challenger is not None:
            places = done.places.tolist()
            theirs = self._rows(challenger, done.challenger, [batch.ids[place] for place in places])
            for place, row in zip(places, theirs, strict=True):
                rows[place] = row
        return done.scored, rows

    def _challenged(self, batch: "_AnsweredRows", arms: Arms, running: RunningExperiment | None) -> ChallengedTable:
        """Let the challenger answer its arm; if it hangs, the deployed model answers it."""
        score = partial(challenge, batch.scored, batch.table, batch.ids, name=NAME, **batch.options)
        if running is not None:
            with suppress(TimeoutError):
                return self._split.bounded(running.experiment, len(batch.ids), partial(score, arms=arms))
        return score(arms=replace(arms, load=no_challenger))

    def _batches(self, *, explain: bool) -> Iterator["_AnsweredRows"]:
        """Yield the rows, scored by the deployed model."""
        rows_before = unpacked = 0
        schema = self._served.bundle.schema
        for table in open_batches(self._path, rows=ROWS, format=self._format, schema=schema, others="all"):
            if rows_before + table.height > self._max_rows:
                raise too_many(self._max_rows)
            unpacked += unpacked_bytes(table) if self._format == "parquet" else 0  # a CSV cannot unpack to more
            if unpacked > self._max_bytes:
                raise Problem(
                    413,
                    "too-large",
                    f"the file has more than {self._max_bytes >> 20} MiB when it is decompressed: send several files",
                )
            if is_marked(table.columns) and not self._served.form.simulated:
                error = FieldError(field=SIMULATED, rule="simulated", message=REFUSED)
                raise Problem(422, "validation", REFUSED, errors=[error])
            options: dict[str, Any] = {
                "explain": explain,
                "first_row": rows_before,
                "may_lack": self._accepted.missing,
                "may_have_gaps": True,
            }
            scored = score_table(table, self._served.bundle, NAME, **options)
            yield _AnsweredRows(scored, ids_of(scored, schema, NAME, rows_before), table, options)
            rows_before += table.height

    def _rows(self, served: Served, scored: ScoredTable, customer_ids: list[str | None]) -> list[PredictionRow]:
        layout, bundle, identifier = served.layout, served.bundle, served.form.identifier
        customers = with_date_texts(scored.customers, bundle.schema)
        personal = sorted(bundle.schema.personal.intersection(customers.columns))
        customers = customers.with_columns(pl.lit(None).alias(name) for name in personal)  # null in the journal
        now = datetime.now(UTC)
        assert scored.explanation is not None
        reasons = pack_reason_rows(*scored.explanation.top(bundle.selected, TOP_FEATURES))
        inputs, rests = pack_table(layout, customers.select(pl.exclude(identifier or "")))
        return [
            PredictionRow(
                id=new_prediction_id(),
                at=now,
                customer_id=customer_id,
                layout=layout,
                churn_probability=probability,
                churn_prediction=churn,
                inputs=given,
                reasons=why,
                rest=rest,
                source=SOURCE,
                key=self._key,
            )
            for customer_id, probability, churn, given, rest, why in zip(
                customer_ids,
                scored.prediction.probability.tolist(),
                scored.prediction.churn.tolist(),
                inputs,
                rests,
                reasons,
                strict=True,
            )
        ]


class _AnsweredRows(NamedTuple):
    """Rows that the deployed model has scored, with their customers' ids; table and options of `score_table`."""

    scored: ScoredTable
    ids: list[str | None]
    table: pl.DataFrame
    options: dict[str, Any]


class CsvPieces:
    """Writes one CSV file in pieces; `safe` as in `csv_of`."""

    format: ClassVar[Format] = "csv"

    def __init__(self, *, safe: bool) -> None:
        self._safe = safe
        self._first = True

    def write(self, table: pl.DataFrame) -> bytes:
        """Return the table's lines, with a header the first time."""
        header = self._first
        self._first = False
        return csv_of(table, header=header, safe=self._safe)

    def end(self) -> bytes:
        """Return nothing: a CSV file has no end."""
        return b""


class _Sink(io.RawIOBase):
    """Output file in memory; `take` returns and removes the bytes written since the last call."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        self._written += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        pieces = self._pieces
        self._pieces = []
        return b"".join(pieces)


class ParquetPieces:
    """Writes one Parquet file in pieces, a row group each."""

    format: ClassVar[Format] = "parquet"

    def __init__(self) -> None:
        self._sink = _Sink()
        self._writer: pyarrow.parquet.ParquetWriter | None = None

    def write(self, table: pl.DataFrame) -> bytes:
        """Return the bytes that the table adds to the file."""
        arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self._sink, arrow.schema)
        self._writer.write_table(arrow)
        return self._sink.take()

    def end(self) -> bytes:
        """Return the footer."""
        if self._writer is not None:
            self._writer.close()
        return self._sink.take()


def refusal(error: ValidationError, schema: Schema) -> Problem:
    """Return the problem with each broken rule of a file."""
    errors = [
        _field_error(schema, failure.column, failure.rule, failure.message, failure.rows) for failure in error.failures
    ]
    first = errors[0]
    detail = f"row {first.row}: {first.message}" if first.row else first.message
    return Problem(422, "validation", detail, errors=errors)


def _field_error(schema: Schema, label: str | None, rule: str, message: str, rows: tuple[int, ...]) -> FieldError:
    """Return an error in a column; it does not contain the column's values."""
    column = next((column for column in schema.columns if column.full_name == label), None)
    text = f"{label}: {message}" if label else message
    return FieldError(field=column.name if column else None, rule=rule, message=text, row=rows[0] if rows else None)
