"""Excel workbooks: read like a CSV of the same table; refused in one line, before they take memory."""

import re
import zipfile
from collections.abc import Mapping
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churnops.data import excel, excel_limits
from churnops.data.batches import columns_left_out, headers_of, open_batches, replaced_columns
from churnops.errors import DataError
from churnops.schema import Column, Schema
from tests.support.workbooks import sheet_xml, workbook

SCHEMA = Schema(
    columns=(
        Column(name="calls", kind="integer", alias="Calls"),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)


def read(folder: Path, content: bytes, **options: Any) -> pl.DataFrame:
    path = folder / "customers.xlsx"
    path.write_bytes(content)
    return pl.concat(open_batches(path, **options))


def refused(folder: Path, content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cells_become_the_texts_of_a_csv(tmp_path: Path):
    rows = [
        ["id", "n", "flag", "day", "time"],
        ["007", 5.0, True, date(2024, 3, 5), datetime(2024, 3, 5, 10, 30)],
        ["", 0.25, False, date(1999, 12, 31), datetime(1970, 1, 1, 12)],
        ["a & <b>", 123456789012, None, None, None],
    ]
    assert read(tmp_path, workbook(rows)).rows() == [
        ("007", "5", "True", "2024-03-05", "2024-03-05T10:30:00"),
        (None, "0.25", "False", "1999-12-31", "1970-01-01T12:00:00"),
        ("a & <b>", "123456789012", None, None, None),
    ]


def test_a_number_beyond_all_dates_is_refused_with_its_row(tmp_path: Path):
    sheet = sheet_xml([["calls", "day"], [1, date(2024, 3, 5)]])
    sheet = re.sub(r"(<c r=\"B2\" [^>]*><v>)[^<]*", r"\g<1>-1e300", sheet)
    assert "row 2 of the sheet cannot be read" in refused(tmp_path, workbook(sheet=sheet))


def test_a_workbook_is_opened_once_for_headers_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened = []
    monkeypatch.setattr(excel, "check_workbook", lambda path: opened.append(path))
    for calls in (1, 2):
        (tmp_path / "customers.xlsx").write_bytes(workbook([["Calls", "churn"], [calls, "No"]]))
        path = tmp_path / "customers.xlsx"
        assert columns_left_out(path, SCHEMA, "all") == replaced_columns(path, SCHEMA) == []
        assert headers_of(path) == ["Calls", "churn"]
        assert pl.concat(open_batches(path)).rows() == [(str(calls), "No")]
        assert len(opened) == calls


def test_titles_empty_rows_and_empty_sheets_are_left_out(tmp_path: Path):
    rows = [["Customers of March"], [], ["Calls", "Note", "churn"], [1, "a", "No"], [], [2, "b", "Yes"]]
    content = workbook(rows, first_sheets=2)
    assert read(tmp_path, content).rows() == [("1", "a", "No"), ("2", "b", "Yes")]
    assert headers_of(tmp_path / "customers.xlsx") == ["Calls", "Note", "churn"]
    assert read(tmp_path, content, schema=SCHEMA).rows() == [("1", "No", None), ("2", "Yes", None)]
    assert read(tmp_path, content, schema=SCHEMA, others="all").rows() == [("1", "a", "No"), ("2", "b", "Yes")]


def test_a_repeated_header_that_is_needed_is_refused(tmp_path: Path):
    assert "several columns have the header 'Calls'" in refused(tmp_path, workbook([["Calls", "Calls"], [1, 2]]))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ('r="XFD1048576"', "1,048,576 rows and 16,384 columns: at most 20,000,000 cells are read: save it as CSV"),
        ("r = 'ZZ100000'", "100,000 rows and 702 columns"),
        ('r="zz100000"', "100,000 rows and 702 columns"),
        ('r="A9999999999999"', "at most 20,000,000 cells"),
        ('r="ZZZZZZZZZZZZ1"', "at most 20,000,000 cells"),
    ],
)
def test_a_cell_far_away_is_refused_before_cells_are_allocated(tmp_path: Path, cell: str, reason: str):
    sheet = sheet_xml([["a"], [1]]).replace("</sheetData>", f'<row r="3"><c {cell}><v>1</v></c></row></sheetData>')
    assert reason in refused(tmp_path, workbook(sheet=sheet))


@pytest.mark.parametrize(
    "rows",
    [
        "<row>" + "<c/>" * 5_000 + "</row>" + "<row/>" * 5_000,
        '<row r="1">' + "<x:c/>" * 5_000 + '</row><row r="5000"><c/></row>',
        '<row r="1"><c r="GGG1"/><c/></row>' + "<row/>" * 5_000,
    ],
)
def test_cells_without_a_reference_are_counted(tmp_path: Path, rows: str):
    sheet = sheet_xml([["a"], [1]]).replace("</sheetData>", f"{rows}</sheetData>")
    assert "at most 20,000,000 cells are read" in refused(tmp_path, workbook(sheet=sheet))


def test_a_reference_across_two_pieces_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sheet = sheet_xml([["a"], [1]]).replace("</sheetData>", '<row r="3"><c r="XFD1048576"/></row></sheetData>')
    content = workbook(sheet=sheet)
    for piece in range(64, 96):
        monkeypatch.setattr(excel_limits, "PIECE", piece)
        assert "16,384 columns" in refused(tmp_path, content)


def test_a_bomb_is_refused_by_its_real_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(excel_limits, "MAX_EXCEL_UNPACKED", 2**20)
    content = workbook([["a"], ["x" * 2**21]])
    assert "more than 1 MiB when it is decompressed" in refused(tmp_path, content)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    assert "decompressed" in refused(tmp_path, content.replace(size.to_bytes(4, "little"), (9).to_bytes(4, "little")))


def packed(parts: Mapping[str, str]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1000),  # a workbook with a password, or .xls
        packed({"a.txt": "a"}),
        packed({"xl/workbook.xml": "<workbook>"}),
        packed({"xl/workbook.xml": "", "XL\\workbook.xml": ""}),
        packed({"xl/workbook.xml": "<workbook/>"}),
        workbook([["a"], [1]])[:-30],
        workbook(sheet=sheet_xml([["a"], [1]]).encode("utf-16")),
        workbook(sheet="<worksheet>"),
        workbook(sheet="<worksheet><sheetData><row r='0'><c r='A0'><v>1</v></c></row></sheetData></worksheet>"),
        workbook([]),
        workbook([["a", "b"]]),
    ],
    ids=range(12),
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes):
    assert refused(tmp_path, content).startswith(str(tmp_path / "customers.xlsx"))
