"""Every page is complete without a network, executes no text from data, and is readable in dark mode."""

import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from churnops.settings import Settings
from tests.support.processes import PATIENCE
from tests.support.projects import write_project
from tests.support.screen import DASHBOARD, PAGES, STREAMLIT, Look, Screen, dashboard

LOADED = "() => performance.getEntriesByType('resource').filter(({name}) => name.includes('PlotlyChart'))"

pytestmark = pytest.mark.needs("chromium")


def test_every_page_of_an_old_project_is_shown_without_running_data(look: Look, lived_in: str):
    screen = look(lived_in).open()
    assert min(_background(screen)) > 240
    for name in PAGES:
        screen.go(name)
        screen.page.mouse.wheel(0, 20_000)  # what is drawn only when it is seen
        screen.settled(name).check()


def test_the_drawing_library_is_loaded_once_before_the_first_figure(look: Look, lived_in: str):
    screen = look(lived_in).open("Predict")
    screen.page.wait_for_function(f"({LOADED})().length > 0")
    assert not screen.page.get_by_test_id("stPlotlyChart").count()
    screen.go("Monitoring")
    assert screen.page.get_by_test_id("stPlotlyChart").count()
    assert len(screen.page.evaluate(LOADED)) == 1


def test_without_a_model_every_page_names_the_next_command(look: Look, tmp_path: Path):
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
    assert max(_background(screen)) < 60
    assert min(_rgb(page.get_by_role("heading", level=1).evaluate("e => getComputedStyle(e).color"))) > 180


@pytest.mark.parametrize("command", [DASHBOARD, STREAMLIT], ids=["churnops", "streamlit"])
def test_the_dashboard_always_listens_on_this_machine_only(lived: Settings, command: tuple[str, ...]):
    with dashboard(lived.root, command) as address:
        port = f":{urlsplit(address).port:04X}"
        tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    sockets = [line.split() for table in tables for line in table]
    listening = [local for _, local, _, state, *_ in sockets if local.endswith(port) and state == "0A"]
    assert listening == [f"0100007F{port}"]  # 127.0.0.1


def test_the_dashboard_answers_browsers_only(lived_in: str):
    request = urllib.request.Request(  # Streamlit's door for programs, which no page of ours knows of
        f"{lived_in}/_stcore/agent/interact", b"{}", {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)
    with refused.value as answer:
        assert answer.code >= 400


def _background(screen: Screen) -> list[int]:
    return _rgb(screen.page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor"))


def _rgb(color: str) -> list[int]:
    return [int(float(part)) for part in color.partition("(")[2].rstrip(")").split(",")[:3]]
