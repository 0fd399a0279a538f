"""A table that is written in any dialect is read back as it was."""

import codecs
import csv
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churnops.data.batches import open_batches
from churnops.errors import DataError
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="minutes", kind="number"),
        Column(name="note", kind="category", choices=("a", "b")),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers(-(10**9), 10**9).map(str)
ENCODINGS = {"utf-8": b"", "utf-8-sig": b"", "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(CELLS, NUMBERS, CELLS), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(sorted(ENCODINGS)),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 3, 1000]),
)
def test_every_dialect_gives_the_same_table(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    encoding: str,
    end: str,
    named: bool,
    commas: bool,
    size: int,
):
    commas = commas and separator != ","
    out = io.StringIO(newline="")
    out.write(f"sep={separator}{end}" if named else "")
    writer = csv.writer(out, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["note", "minutes", "a;b|c"])
    for note, number, other in rows:
        writer.writerow([note, number.replace(".", ",") if commas else number, other])
    path = tmp_path_factory.mktemp("dialect") / "a.csv"
    path.write_bytes(ENCODINGS[encoding] + out.getvalue().encode(encoding))
    table = pl.concat(open_batches(path, rows=size, schema=SCHEMA, others="all"))
    assert table.columns == ["note", "minutes", "a;b|c"]
    assert table.rows() == [(note or None, number, other or None) for note, number, other in rows]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.mktemp("bytes") / "a.csv"
    for begin in (b"", b"note;minutes\n1;2\n", b"sep=|\n", codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE):
        path.write_bytes(begin + content)
        rows, message = 0, ""
        try:
            rows = sum(table.height for table in open_batches(path, schema=SCHEMA))
        except DataError as error:
            message = str(error)
        assert (rows > 0) != bool(message)
        assert "\n" not in message
