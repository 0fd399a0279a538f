"""What holds for every page: it is there, needs no network, runs nothing that came with data, and reads in the dark."""

from pathlib import Path

import pytest

from tests.browser.conftest import Look
from tests.browser.screen import PAGES, dashboard
from tests.conftest import write_project

pytestmark = pytest.mark.needs("chromium")


def test_every_page_of_a_project_with_a_past_is_shown_and_no_script_in_its_data_runs(look: Look, lived_in: str):
    screen = look(lived_in).open()
    for name in PAGES:
        screen.go(name)
        screen.page.mouse.wheel(0, 20_000)  # what is drawn only when it is seen
        screen.settled(name).check()


def test_every_page_says_what_to_do_in_a_project_without_a_model(look: Look, tmp_path: Path):
    folder = write_project(tmp_path / "empty").parent
    with dashboard(folder) as address:
        screen = look(address).open()
        for name in PAGES:
            screen.go(name).says(r"churnops (run|monitor)")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_telephone_and_is_dark_where_the_system_is(look: Look, lived_in: str, name: str):
    screen = look(lived_in, color_scheme="dark", viewport={"width": 390, "height": 844}).open(name)
    page = screen.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    red, green, blue = _rgb(page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor"))
    assert max(red, green, blue) < 60
    assert min(_rgb(page.get_by_role("heading", level=1).evaluate("e => getComputedStyle(e).color"))) > 180


def test_the_address_that_nobody_may_reach_from_elsewhere_is_the_default(lived_in: str):
    assert lived_in.startswith("http://127.0.0.1:")


def _rgb(color: str) -> list[int]:
    return [int(float(part)) for part in color.partition("(")[2].rstrip(")").split(",")[:3]]
