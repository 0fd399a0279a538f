"""Uploads of newline-delimited JSON."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any

from churnops.api.live import given_columns
from churnops.api.predictions import of_model, unknown_levels
from churnops.api.problems import Problem
from churnops.api.served import Served
from churnops.api.split import SplitAnswers
from churnops.api.strict_json import parse_json
from churnops.api.uploads.formats import Piece, too_many
from churnops.api.work import Steps
from churnops.data.accepted import Accepted
from churnops.data.unexpected_cells import CellCount, UnexpectedCells
from churnops.wire import FieldError

MAX_LINE_BYTES = 64 * 1024
LINES = 1000  # customers scored at once
LINES_BYTES = 4 * 2**20  # bytes of lines above which fewer customers are scored at once
MAX_READ = 50_000  # limit of the lines read in a step, including blank lines


class NdjsonUpload:
    """File with one JSON object a line. The answer has one line for each customer: the answer of `/predict`."""

    def __init__(
        self, path: Path, served: Served, split: SplitAnswers, max_rows: int, key: str | None, accepted: Accepted
    ) -> None:
        self._split = split
        self.replaced = ()  # a field that the answer adds is refused, like any unknown field
        self._path = path
        self._served = served
        self._max_rows = max_rows
        self._key = key
        self._accepted = accepted
        self._given: set[str] = set()
        self._nullable = {h for c in served.bundle.schema.model_inputs if c.nullable for h in (c.name, c.alias) if h}

    def check(self) -> Steps[None]:
        """See `Upload`."""
        customers, unknown = 0, dict[str, list[int]]()  # number and first row of unknown levels, by column
        for records in self._records():
            for row, record in enumerate(records, customers + 1):
                for name in self._served.form.unknown(record):
                    unknown.setdefault(name, [0, row])[0] += 1
            customers += len(records)
            yield
        if not customers:
            raise Problem(422, "validation", "the file has no customers")
        self._check_given()
        if unknown:
            self._check_levels(customers, unknown)

    def _check_given(self) -> None:
        """Refuse a file that lacks a nullable column in every line."""
        for column in self._served.bundle.schema.model_inputs:
            names = {column.name, column.alias}
            if column.nullable and column.name not in self._accepted.missing and self._given.isdisjoint(names):
                text = f"no line has {column.full_name}; `accept_missing={column.name}` scores without it"
                error = FieldError(field=column.name, rule="missing column", message=text)
                raise Problem(422, "validation", text, errors=[error])

    def _check_levels(self, customers: int, unknown: Mapping[str, Sequence[int]]) -> None:
        from churnops.api.uploads.tables import NAME, refusal  # costs memory
        from churnops.data.validate import ValidationError
        from churnops.scoring.table import check_expected

        levels = {name: CellCount(count, (), row) for name, (count, row) in unknown.items()}
        try:
            check_expected(UnexpectedCells(customers, levels), self._served.bundle, NAME, self._accepted)
        except ValidationError as error:
            raise refusal(error, self._served.bundle.schema) from None

    def scored(self) -> Generator[Piece, None, None]:
        """See `Upload`."""
        for records in self._records():
            if not records:
                yield Piece(b"", [], {}, {})
                continue
            answers, rows = self._split.answer(self._served, records, self._key)
            own = [records[place] for place in of_model(self._served, rows)]
            content = "".join(json.dumps(item) + "\n" for item in answers).encode()
            yield Piece(content, rows, given_columns(self._served, own), unknown_levels(answers))

    def _records(self) -> Iterator[list[Any]]:
        with self._path.open("rb") as file:
            row = 1
            for lines in self._lines(file):
                if row + len(lines) - 1 > self._max_rows:
                    raise too_many(self._max_rows)
                yield self._served.form.read_all(map(self._parse, lines, count(row)), first_row=row)
                row += len(lines)

    def _lines(self, file: IO[bytes]) -> Iterator[list[bytes]]:
        """Yield lists of lines without the blank ones; at most `max_rows` blank lines are allowed.

        A line is cut after `MAX_LINE_BYTES`, and then refused by `_parse`.
        """
        lines: list[bytes] = []
        size = read = blank = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            read += 1
            size += len(line)
            if line.strip():
                lines.append(line)
            else:
                blank += 1
            if len(lines) == LINES or size > LINES_BYTES or read == MAX_READ:
                if blank > self._max_rows:
                    raise Problem(413, "too-many", f"the file has more than {self._max_rows} blank lines")
                yield lines
                lines = []
                size = read = 0
        yield lines

    def _parse(self, line: bytes, row: int) -> Any:
        if len(line) > MAX_LINE_BYTES:
            raise Problem(413, "too-large", f"row {row}: a line is larger than {MAX_LINE_BYTES} bytes")
        try:
            document = parse_json(line, self._served.form.max_values)
        except Problem as problem:
            raise problem.in_row(row) from None
        if isinstance(document, dict):
            self._given |= document.keys() & self._nullable
        return document
