"""CSV files as programs write them: separators, encodings, decimal commas, and refusals that name the cause."""

import codecs
from pathlib import Path

import polars as pl
import pytest

from churnops.data.batches import open_batches, read_batches
from churnops.data.dialect import SEPARATORS, read_dialect
from churnops.data.read import read_table
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import DataError
from churnops.limits import MAX_ROW_BYTES
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="customer_id", kind="id", alias="customerID", required=False),
        Column(name="senior", kind="flag", alias="SeniorCitizen", choices=("0", "1")),
        Column(name="plan", kind="category", choices=("DSL", "Fiber optic", "1,5"), open=False),
        Column(name="monthly", kind="number", alias="MonthlyCharges", minimum=0),
        Column(name="total", kind="number", alias="TotalCharges", nullable=True),
        Column(name="since", kind="time", required=False),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)
LINES = [
    ["customerID", "SeniorCitizen", "plan", "MonthlyCharges", "TotalCharges"],
    ["a", "0", "DSL", "66.49", "3354.18"],
    ["b", "1", "Fiber optic", "24.5", ""],
]


def write(folder: Path, content: bytes | str) -> Path:
    path = folder / "customers.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def text(separator: str, lines: list[list[str]] = LINES, end: str = "\n") -> str:
    return "".join(separator.join(line) + end for line in lines)


def customers(path: Path) -> list[tuple[object, ...]]:
    return check_customers(read_table(path, SCHEMA), SCHEMA, "customers.csv").rows()


EXPECTED = [("a", "0", "DSL", 66.49, 3354.18), ("b", "1", "Fiber optic", 24.5, None)]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("top", ["", "\n\n", "sep={}", '"sep={}"', "SEP={}"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"], ids=["utf8", "bom", "utf16le", "utf16be"]
)
def test_separator_first_line_and_encoding_are_detected(
    tmp_path: Path, separator: str, end: str, top: str, encoding: str
):
    first = top.format(separator) + end if "sep" in top.lower() else top
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    path = write(tmp_path, mark + (first + text(separator, end=end)).encode(encoding))
    assert read_dialect(path, SCHEMA).separator == separator
    assert customers(path) == EXPECTED


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_decimal_commas_are_read_if_the_separator_is_another(tmp_path: Path, separator: str):
    lines = [
        [*LINES[0], "note"],
        ["a", "0", "1,5", " 66,49 ", "3354,18", "1,5"],
        ["b", "1", "DSL", "24,5", "-1,5e-3", "x.y"],
    ]
    path = write(tmp_path, text(separator, lines))
    assert customers(path) == [("a", "0", "1,5", 66.49, 3354.18), ("b", "1", "DSL", 24.5, -0.0015)]
    table = pl.concat(open_batches(path, schema=SCHEMA, others="all"))
    assert table["note"].to_list() == ["1,5", "x.y"]  # no number of the schema
    assert table["MonthlyCharges"].to_list() == [" 66.49 ", "24.5"]
    assert read_table(path)["MonthlyCharges"].to_list() == [" 66,49 ", "24,5"]  # no schema, no numbers


def test_two_decimal_marks_in_one_file_are_refused_with_both_places(tmp_path: Path):
    lines = [LINES[0], ["a", "0", "DSL", "66,49", "3354,18"], ["b", "1", "DSL", "24,5", "1.234"]]
    path = write(tmp_path, text(";", lines))
    expected = (
        "a decimal comma in row 1 of column 'MonthlyCharges' and a decimal point in row 2 of column 'TotalCharges'"
    )
    for rows in (1, 100):
        with pytest.raises(DataError, match=expected):
            list(open_batches(path, rows=rows, schema=SCHEMA))
    with pytest.raises(DataError, match=expected):  # also where the first of them was read by an earlier run
        list(read_batches(path, rows=1, skip=1, schema=SCHEMA))


@pytest.mark.parametrize("separator", [",", ";"])
def test_marks_of_thousands_are_refused_with_the_way_out(tmp_path: Path, separator: str):
    lines = [LINES[0], ["a", "0", "DSL", '"1.234,56"', "1"]]
    with pytest.raises(
        ValidationError, match=r"not a number \(write 1234.5, without .*\), such as '1.234,56' \(row 1\)"
    ):
        customers(write(tmp_path, text(separator, lines)))


def test_a_quoted_comma_is_no_decimal_mark_between_commas(tmp_path: Path):
    lines = [LINES[0], ["a", "0", "DSL", '"66,49"', "1"]]
    with pytest.raises(ValidationError, match="not a number"):
        customers(write(tmp_path, text(",", lines)))


def test_headers_of_the_schema_decide_between_separators(tmp_path: Path):
    path = write(tmp_path, "state|x|y;MonthlyCharges;plan, or product\n1;2;3\n")
    assert read_dialect(path, SCHEMA).headers == ("state|x|y", "MonthlyCharges", "plan, or product")
    assert (
        read_dialect(path).separator == ";"
    )  # without a Schema: the one with which the rows are as long as the header


def test_a_quoted_header_may_hold_other_separators(tmp_path: Path):
    path = write(tmp_path, '"a;b|c\td",MonthlyCharges\n1,2\n')
    for schema in (None, SCHEMA):
        assert read_dialect(path, schema).headers == ("a;b|c\td", "MonthlyCharges")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"Customer report\n" * 30 + text(",").encode(),
            "row 30 has 5 values, but the header has 1: the first line must hold",
        ),
        (text(";").encode() + b"c,0,DSL,1,2\n", r"row 3 has 1 value, but the header has 5 \(separated by semicolons\)"),
        (text(",").encode("utf-16-le"), "UTF-16 text without a byte-order mark, save it as UTF-8"),
        (codecs.BOM_UTF16_LE + text(",").encode("utf-16-le") + b"x", "it is not UTF-16-LE text"),
        (codecs.BOM_UTF16_LE + text(",").encode("utf-16-le") + b"\x00\xd8x\x00", "it is not UTF-16-LE text"),
        (text(",").encode() + b"\xe9,0,DSL,1,2\n", "row 3 is not UTF-8 text in column 'customerID': save the file as"),
        (text(",").encode().replace(b"MonthlyC", b"Monthl\xe9C"), "its header is not UTF-8 text: save it as UTF-8"),
        (b"sep=:\n" + text(":").encode(), "separator ':', but churnops reads only commas, semicolons, tabs and bars"),
        (b"sep=;\n", "is empty"),
        (b"sep=;\na;b\n", "a header but no rows"),
        (b"\xff\xfe", "is empty"),
        (b"\xff\xfe\x00", "has a header but no rows"),
        (codecs.BOM_UTF16_LE + "z".encode("utf-16-le") * 2 * MAX_ROW_BYTES, "not a readable CSV"),
        (
            codecs.BOM_UTF16_BE + f'a;b\n1;"{"z" * 2 * MAX_ROW_BYTES}"\n'.encode("utf-16-be"),
            "longer than 1 MiB, or has a quote that is never closed",
        ),
        (b'sep=;\na;b\n1;2\n3;"x\n4;5\n', "a quote is never closed"),
        (b"sep=;\n\na;b\n1;2\n3;4;5\n", "row 2 has 3 values"),
    ],
    ids=range(16),
)
def test_a_refusal_names_the_cause_on_one_line(tmp_path: Path, content: bytes, reason: str):
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=reason) as caught:
        list(open_batches(path, schema=SCHEMA))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_utf_16_is_read_in_blocks_and_its_share_grows(tmp_path: Path):
    rows = 60_000
    table = pl.DataFrame({"plan": ["ü" * 10] * rows, "MonthlyCharges": [str(row) for row in range(rows)]})
    path = write(tmp_path, ("\ufeff" + table.write_csv()).encode("utf-16-le"))
    batches = list(read_batches(path, rows=7_000, schema=SCHEMA))
    assert pl.concat(batch.table for batch in batches).equals(table)
    shares = [batch.share for batch in batches]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    skipped = list(read_batches(path, rows=7_000, skip=50_001, schema=SCHEMA))
    assert pl.concat(batch.table for batch in skipped).equals(table[50_001:])


def test_cells_of_blanks_are_missing_where_they_may_be(tmp_path: Path):
    lines = [
        [*LINES[0], "since"],
        ["a", " 1", "DSL", " 66.49", " ", "2024-03-05"],
        ["b", "0", "DSL", "\u00a07 ", "\t", "2024-03-05T10:00:00+02:00"],
    ]
    rows = check_customers(read_table(write(tmp_path, text(",", lines)), SCHEMA), SCHEMA, "x")
    assert rows["total"].to_list() == [None, None]
    assert rows["monthly"].to_list() == [66.49, 7.0]
    assert rows["senior"].to_list() == ["1", "0"]
    lines[1][3] = "  "
    message = r"monthly \('MonthlyCharges'\): 1 value missing: fill in the cell, or .*`nullable: true`.* \(row 1\)"
    with pytest.raises(ValidationError, match=message):
        customers(write(tmp_path, text(",", lines)))


@pytest.mark.parametrize("word", ["NA", "NaN", "null", "-", "n/a", "None", " ? "])
@pytest.mark.parametrize("column", [2, 4])
def test_words_for_missing_are_refused_with_the_way_out(tmp_path: Path, word: str, column: int):
    lines = [LINES[0], [*LINES[1]]]
    lines[1][column] = word
    with pytest.raises(ValidationError, match=r"\(a missing value is an empty cell, or.*\(row 1\)"):
        customers(write(tmp_path, text(",", lines)))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("seniorcitizen", "SeniorCitizen"),
        ("Senior Citizen", "SeniorCitizen"),
        ("senior_citizen", "SeniorCitizen"),
        ("SENIOR", "SeniorCitizen"),
        ("SeniorCitizn", "SeniorCitizen"),
    ],
)
def test_a_header_that_is_near_a_name_or_alias_is_shown(tmp_path: Path, given: str, wanted: str):
    lines = [[given if name == "SeniorCitizen" else name for name in LINES[0]], *LINES[1:]]
    with pytest.raises(ValidationError, match=f"is missing; is it {given!r}.* rename that header to {wanted!r}"):
        customers(write(tmp_path, text(",", lines)))


def test_a_declared_encoding_is_for_files_that_are_not_utf8(tmp_path: Path):
    schema = SCHEMA.model_copy(update={"encoding": "windows-1252"})
    lines = [LINES[0], ["é", *LINES[1][1:]]]
    for encoding in ("utf-8", "windows-1252", "utf-8-sig"):
        path = write(tmp_path, text(",", lines).encode(encoding))
        assert check_customers(read_table(path, schema), schema, "customers.csv").row(0)[0] == "é"
