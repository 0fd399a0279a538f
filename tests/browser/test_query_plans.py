"""No page queries the journal in a time that grows with the number of predictions, labels or reports."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, event
from streamlit import cache_data, cache_resource
from streamlit.testing.v1 import AppTest

from churnops.settings import ENV_CONFIG, Settings
from tests.support.screen import PAGES, SECONDS

GROW = {"predictions", "labels", "looks", "cycles", "alerts", "deliveries", "decisions", "profiles"}
GROW |= {"newest_scores", "call_list_rows", "contacts"}
"""Tables that every day adds to; deployments, keys and call lists are few."""
PAGE = """
from churnops.app.{name}.page import page
from churnops.app.shared.project import guarded
guarded(page)()
"""
Asked = dict[str, Any]


@pytest.fixture
def asked(lived: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """Every later SQL statement of this process with its parameters; caches are empty."""
    monkeypatch.setenv(ENV_CONFIG, str(lived.path("config.yaml")))
    statements: Asked = {}

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            statements[statement] = parameters

    cache_data.clear()
    cache_resource.clear()
    event.listen(Engine, "before_cursor_execute", keep)
    yield statements
    event.remove(Engine, "before_cursor_execute", keep)
    cache_data.clear()
    cache_resource.clear()


@pytest.mark.parametrize("name", PAGES)
def test_pages_query_the_journal_only_through_indexes(lived: Settings, asked: Asked, name: str):
    page = AppTest.from_string(PAGE.format(name=name.lower().replace(" ", "_")), default_timeout=SECONDS / 1000).run()
    assert not page.exception, page.exception
    for widget in (*page.toggle, *page.checkbox):
        widget.set_value(True)
    for choice in page.radio:
        choice.set_value(choice.options[-1])
    page.run()
    assert not page.exception, page.exception
    plans = {statement: plan(lived, statement, parameters) for statement, parameters in asked.items()}
    assert {statement: bad for statement, lines in plans.items() if (bad := slow(statement, lines))} == {}


def test_the_check_detects_reads_of_a_whole_table(lived: Settings):
    for statement in (
        "SELECT count(*) FROM predictions",
        "SELECT * FROM predictions WHERE customer_id = 'C-1'",
        "SELECT * FROM cycles ORDER BY at DESC",
        "SELECT * FROM predictions p ORDER BY p.churn_probability LIMIT 5",
        "SELECT * FROM alerts WHERE severity = 'x' LIMIT 5",
        "SELECT * FROM (SELECT * FROM alerts ORDER BY severity LIMIT 9) AS anon_1 WHERE at > 5",
    ):
        assert slow(statement, plan(lived, statement, ())), statement
    for statement in (
        "SELECT * FROM predictions WHERE at > 5",
        "SELECT * FROM cycles ORDER BY at DESC, id DESC LIMIT 5",
        "SELECT max(at) FROM predictions",
        "SELECT * FROM deployments",
        "SELECT * FROM alerts ORDER BY id DESC LIMIT 9",
        "SELECT * FROM (SELECT * FROM cycles ORDER BY id DESC LIMIT 9) AS anon_1 WHERE at > 5 ORDER BY at DESC LIMIT 1",
    ):
        assert not slow(statement, plan(lived, statement, ())), statement


def plan(settings: Settings, statement: str, parameters: Any) -> list[str]:
    """Return the lines of SQLite's plan for a statement."""
    with closing(sqlite3.connect(settings.path("journal.db"))) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def slow(statement: str, lines: list[str]) -> list[str]:
    """Return the lines of a plan that read a whole table; an ordered read may end at LIMIT."""
    inner = re.search(r"(?i)\((select\b[^()]*\blimit\b[^()]*)\)", statement)
    if inner:  # what is chosen and sorted are the rows of a subquery, which ends at LIMIT
        end = next((n for n, line in enumerate(lines) if line.startswith("SCAN anon_")), len(lines))
        return slow(inner[1], lines[:end])
    names = dict(re.findall(r"(?i)\b(?:from|join)\s+(\w+)\s+(?:as\s+)?(\w+)", statement))
    aliases = {alias: table for table, alias in names.items()}
    ends = re.search(r"(?i)\blimit\b", statement) is not None and not any("TEMP B-TREE" in line for line in lines)
    chooses = re.search(r"(?i)\bwhere\b", statement) is not None
    found = []
    for line in lines:
        scanned = re.match(r"SCAN (\w+)(.*)", line)
        table = scanned and aliases.get(scanned[1], scanned[1])
        if scanned and table in GROW and not (ends and ("INDEX" in scanned[2] or not chooses)):
            found.append(line)
    return found
