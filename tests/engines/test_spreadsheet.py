"""An exported call list opened by LibreOffice: nothing in it is a formula, and nothing is asked of the network."""

import re
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from churnops.decision.list_text import as_csv
from churnops.schema import Column, Schema
from churnops.wire import ListedCustomerAnswer
from tests.support.processes import PATIENCE
from tests.support.web import Quiet, web_server

pytestmark = pytest.mark.needs("libreoffice")

asked: list[str] = []
SCHEMA = Schema(
    columns=(
        Column(name="number", alias="=Number", kind="id", required=False),
        Column(name="minutes", kind="number"),
        Column(name="churn", kind="target", choices=("no", "yes")),
    )
)


class Listener(Quiet):
    def do_GET(self) -> None:
        asked.append(self.path)
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def attacks() -> Iterator[Sequence[str]]:
    """Texts that a spreadsheet would execute."""
    asked.clear()
    with web_server(Listener) as port:
        url = f"http://127.0.0.1:{port}"
        yield (
            f'=WEBSERVICE("{url}/webservice")',
            f'=HYPERLINK("{url}/link","here")',
            "=cmd|'/C touch ran'!A0",
            "+1+1",
            "-1+1",
            "@SUM(1;1)",
            "\t=1+1",
            "\uff1d1+1",
            '=DDE("soffice";"/etc/passwd";"A1")',
        )


def formulas(table: bytes, folder: Path) -> list[str]:
    """Return the formulas of a CSV after LibreOffice has opened it and saved it as a workbook."""
    path = folder / "list.csv"
    path.write_bytes(table)
    command = ["soffice", f"-env:UserInstallation=file://{folder}/profile", "--headless", "--convert-to", "xlsx"]
    subprocess.run([*command, path.name], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    with zipfile.ZipFile(folder / "list.xlsx") as workbook:
        sheet = workbook.read("xl/worksheets/sheet1.xml").decode()
    return re.findall(r"<f[ >][^<]*", sheet)


def test_an_exported_list_runs_nothing_in_a_spreadsheet(attacks: Sequence[str], tmp_path: Path):
    plain = "\n".join(["text", *('"' + text.replace('"', '""') + '"' for text in attacks)]).encode()
    (tmp_path / "plain").mkdir()
    assert formulas(plain, tmp_path / "plain"), "LibreOffice reads formulas in a CSV that is not made safe"
    asked.clear()
    rows = [
        ListedCustomerAnswer(
            place=place,
            customer_id=text,
            churn_probability=0.5,
            value=None,
            expected_profit=-1.5,
            reasons=[text, text],
            action=text,
            status="to do",
            note=text,
        )
        for place, text in enumerate(attacks, 1)
    ]
    assert formulas(as_csv(rows, SCHEMA), tmp_path) == []
    assert asked == []
    assert not list(tmp_path.rglob("ran"))
