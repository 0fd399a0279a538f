"""The Call list page: a list is made, opened, noted on, filtered and exported; nothing in it runs."""

import csv
import io
from pathlib import Path

import pytest

from churnops.decision.in_force import set_policy
from churnops.decision.policy import DecisionPolicy
from churnops.journal.contacts import Contact
from churnops.project import Project
from churnops.settings import Settings
from tests.support.processes import wait_for
from tests.support.projects import copied
from tests.support.screen import AGAIN, ATTACK, Look, Screen, dashboard, happens

pytestmark = pytest.mark.needs("chromium")

POLICY = DecisionPolicy(contacts=20, cost=10.0, value=200.0, success_rate=0.25, currency="EUR")
NAME = f"Week 48 {ATTACK}"
NOTE = "=1+1 calls back"


@pytest.fixture
def settings(lived: Settings, tmp_path: Path) -> Settings:
    """A project with scored customers and a policy."""
    made = copied(lived, tmp_path / "project")
    with Project.open(made) as project:
        set_policy(project.policies, POLICY, by="ann", reason="test")
    return made


def test_a_list_is_made_noted_on_filtered_and_exported(look: Look, settings: Settings):
    with dashboard(settings.root) as address, Project.open(settings) as project:
        screen = look(address).open("Call list")
        screen.page.get_by_text("Make a list").click()
        screen.settled()
        screen.page.get_by_label("Customers", exact=True).fill("20")
        screen.page.get_by_label("Name", exact=True).fill(NAME)
        screen.page.get_by_label("Name", exact=True).press("Enter")
        screen.settled().press("Make the list")
        screen.says(r"Of 501 customers, call these 20\. Expected profit: [\d,]+ EUR\.")
        screen.says(r"between .* EUR \(95 % interval\)")
        (made,) = [one for one in project.call_lists.newest() if one.name == NAME]
        first = project.call_lists.customers(made.id)[0]
        screen.has_cell(first.customer_id)
        assert "100 %" not in screen.page.get_by_test_id("stDataFrame").inner_text()

        entry = wait_for("the note is kept", lambda: note(screen, project, made.id, first.customer_id))
        assert (entry.status, entry.note) == ("to do", NOTE)

        screen.page.get_by_test_id("stButtonGroup").get_by_text("Reached").click()
        screen.settled().says("No customer of this list has the status")
        with screen.page.expect_download() as download:
            screen.page.get_by_text("Download as CSV").click()
        rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
        assert len(rows) == 20
        assert (rows[0]["customer_id"], rows[0]["Note"]) == (first.customer_id, f"'{NOTE}")


def note(screen: Screen, project: Project, call_list: int, customer: str) -> Contact | None:
    """Write a note to the first customer, with the keyboard; None if the table was drawn anew and has missed keys."""
    keys = screen.settled().page.keyboard
    keys.press("Escape")  # what an earlier try has left open
    screen.page.locator(".dvn-scroller").click(position={"x": 40, "y": 55})
    for _ in range(5):
        keys.press("ArrowRight")
    keys.press("Enter")
    if not happens(lambda: screen.page.locator("#portal textarea").fill(NOTE, timeout=AGAIN)):
        return None
    keys.press("Enter")
    for _ in range(AGAIN // 50):
        if customer in (known := project.contacts.of_list(call_list)):
            return known[customer]
        screen.page.wait_for_timeout(50)
    return None


def test_a_list_with_attacks_is_shown_as_text(look: Look, lived_in: str):
    screen = look(lived_in).open("Call list")
    screen.has_cell(ATTACK)
    screen.says("Of 9 customers, call these 3")
    assert screen.page.locator("b", has_text="EUR").count() == 0
