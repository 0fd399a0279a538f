"""Templates of pages: text is escaped, a missing value is an error, and only figures are put in as they are."""

import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from jinja2 import UndefinedError

from churnops import templates
from churnops.api.routes.page import documentation_page
from churnops.templates import macro, render

FOLDER = Path(templates.__file__).parent
EVIL = "<img src=x onerror='alert(1)'>\x07"
ESCAPED = "&lt;img src=x onerror=&#39;alert(1)&#39;&gt;"


def test_text_is_escaped_and_without_control_characters():
    page = render("base.html", title=EVIL)
    assert f"<title>{ESCAPED}</title>" in page
    assert "\x07" not in page


def test_a_missing_value_is_an_error():
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render("base.html")


def test_a_part_of_a_page_is_escaped_once():
    row = macro("monitoring_parts.html", "row")(EVIL, ["5 < 6"])
    assert row == f'<tr><th scope="row">{ESCAPED}</th><td>5 &lt; 6</td></tr>'


def test_only_figures_are_put_in_as_they_are():
    texts = {path.name: path.read_text() for path in FOLDER.glob("*.html")}
    assert len(texts) >= 4
    safe = {match for text in texts.values() for match in re.findall(r"\{\{-? *([^}]*?) *\| *safe", text)}
    assert safe == {"figure.svg", "column.figure", "performance.figure"}
    assert not [name for name, text in texts.items() if re.search(r"autoescape|<script|https?://(?!localhost)", text)]


def test_the_documentation_escapes_an_openapi_document():
    schema = {"description": EVIL, "required": [EVIL], "properties": {EVIL: {"enum": [EVIL], "description": EVIL}}}
    answer = {"description": EVIL, "content": {EVIL: {"schema": {"$ref": f"#/{EVIL}"}}}}
    operation = {"description": EVIL, "responses": {EVIL: answer}}
    document = {
        "info": {"title": EVIL, "version": EVIL, "description": EVIL},
        "paths": {f"/{EVIL}": {"get": operation}},
        "components": {"schemas": {EVIL: schema}},
    }
    page = bytes(documentation_page(document, EVIL).body).decode()
    assert page.count(ESCAPED) > 15
    assert "<img" not in page


def test_jinja_is_loaded_with_the_first_page_only():
    code = "import sys, churnops.api.routes.page, churnops.monitoring.page; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_wheel_contains_every_template_and_style_sheet(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, check=True, cwd=FOLDER.parents[2], capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(ZipFile(wheel).namelist())
    files = {f"churnops/templates/{path.name}" for path in FOLDER.iterdir() if path.suffix in (".html", ".css")}
    assert len(files) >= 8
    assert files <= inside
