"""One Chromium, and one project that has everything in it which pages show, with attacks wherever text can be.

The browser is closed when this folder's tests end: as long as it is open, no other event loop can run.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from scripts.big_project import fill

from churnops.pipelines.run_all import run_all
from churnops.settings import Settings, load_settings
from tests.support.attacks import attack
from tests.support.projects import copied, quick, write_project, write_small_data
from tests.support.screen import ATTACK, Look, Screen, dashboard, launch


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A project after the main job; some customers live in a state whose name contains markup."""
    folder = tmp_path_factory.mktemp("browser") / "project"
    settings = load_settings(write_project(folder, _strange))
    write_small_data(folder)
    for table in (*folder.glob("data/raw/*.csv"), *folder.glob("data/production/*.csv")):
        header, *rows = table.read_text().splitlines(keepends=True)
        table.write_text(header + "".join(row.replace("WV,", f"{ATTACK},", 1) for row in rows))
    run_all(settings)
    return settings


@pytest.fixture(scope="package")
def lived(deployed: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The same project after months, with attacks in the journal, a report and a summary. Do not write to it."""
    settings = copied(deployed, tmp_path_factory.mktemp("browser") / "lived")
    fill(settings, reports=8, predictions=2000)
    attack(settings)
    return settings


@pytest.fixture(scope="package")
def lived_in(lived: Settings) -> Iterator[str]:
    """The address of the project's dashboard."""
    with dashboard(lived.root) as address:
        yield address


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Return a function that opens a tab on a dashboard; each is judged when the test ends."""
    screens: list[Screen] = []

    def opened(address: str, **options: Any) -> Screen:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        screens.append(Screen(context.new_page(), address))
        return screens[-1]

    yield opened
    for screen in screens:
        screen.check()
        screen.page.context.close()


def _strange(document: dict[str, Any]) -> None:
    quick(document)
    state = next(column for column in document["schema"]["columns"] if column["name"] == "state")
    state["choices"].append(ATTACK)
