"""The Monitoring page: a new report appears, and the chosen time range decides which reports are shown."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from churnops.cli import main
from churnops.settings import Settings
from tests.support.attacks import EVERYTHING
from tests.support.projects import copied
from tests.support.screen import Look, dashboard

pytestmark = pytest.mark.needs("chromium")


def test_the_first_report_appears_after_churnops_monitor_simulate(look: Look, deployed: Settings, tmp_path: Path):
    settings = copied(deployed, tmp_path / "project")
    forget_reports(settings)
    with dashboard(settings.root) as address:
        screen = look(address).open("Monitoring")
        screen.says("No report yet")
        screen.says("churnops monitor --simulate")
        result = CliRunner().invoke(
            main, ["--config", str(settings.path("config.yaml")), "monitor", "--simulate", "--seed", "3"]
        )
        assert result.exit_code == 0, result.output
        screen.open("Monitoring")
        screen.says("All reports are on simulated or past customers")
        screen.says("simulated")
        screen.says(r"^Performance$")
        screen.says(r"^Columns$")
        assert screen.page.get_by_test_id("stPlotlyChart").count() >= 5
        assert "No report yet" not in screen.text()


def test_a_report_of_months_shows_health_series_columns_and_alerts(look: Look, lived_in: str):
    screen = look(lived_in).open("Monitoring")
    screen.says(r"Since \d+ \w+ \d{4}")
    screen.says(r"Retraining is (not )?recommended")
    screen.page.get_by_text("All", exact=True).click()
    screen.settled().says(r"over \d+ reports")
    assert EVERYTHING.split()[0] in screen.text()
    screen.page.get_by_text("24 hours", exact=True).click()
    screen.settled()
    screen.has_cell("timed out")


def forget_reports(settings: Settings) -> None:
    """Remove the main job's first report, so that the project was never monitored."""
    with closing(sqlite3.connect(settings.path("journal.db"))) as connection, connection:
        connection.execute("DELETE FROM cycles")
        connection.execute("DELETE FROM looks")
    for file in settings.path("monitoring").glob("*"):
        file.unlink()
