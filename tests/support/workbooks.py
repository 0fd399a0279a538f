"""Small Excel workbooks, written by hand, so that tests can damage them."""

import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from io import BytesIO
from string import ascii_uppercase
from typing import Any
from xml.sax.saxutils import escape

Rows = Sequence[Sequence[Any]]
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/>'
    "</cellXfs></styleSheet>"
)


def workbook(rows: Rows = (), *, sheet: str | bytes | None = None, first_sheets: int = 0) -> bytes:
    """Return a workbook with one sheet of rows, or with the given XML, after some empty sheets."""
    sheets = [sheet_xml([])] * first_sheets + [sheet_xml(rows) if sheet is None else sheet]
    numbers = range(1, len(sheets) + 1)
    named = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    relations = "".join(_relation(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers)
    parts: dict[str, str | bytes] = {
        "_rels/.rels": _relations(_relation("rId1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}">'
        f"<sheets>{named}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": _relations(relations + _relation("rId99", "styles", "styles.xml")),
        "xl/styles.xml": _STYLES,
    }
    parts |= {f"xl/worksheets/sheet{n}.xml": content for n, content in zip(numbers, sheets, strict=True)}
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sheet_xml(rows: Rows) -> str:
    """Return the XML of a sheet."""
    lines = [
        f'<row r="{n}">{"".join(_cell(value, f"{ascii_uppercase[i]}{n}") for i, value in enumerate(row))}</row>'
        for n, row in enumerate(rows, 1)
    ]
    return f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'


def _cell(value: Any, place: str) -> str:
    if value is None:
        return f'<c r="{place}"/>'
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        days = (moment - datetime(1899, 12, 30)).total_seconds() / 86400
        return f'<c r="{place}" s="{1 + isinstance(value, datetime)}"><v>{days!r}</v></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def _relation(identifier: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{identifier}" Type="{_DOCUMENT}/{kind}" Target="{target}"/>'


def _relations(relations: str) -> str:
    return f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{relations}</Relationships>'
