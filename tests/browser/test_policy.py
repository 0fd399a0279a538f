"""The Policy page: profits of policies, other assumptions, segments, and "Use this"."""

from pathlib import Path

import pytest

from churnops.project import Project
from churnops.settings import Settings
from tests.support.projects import copied
from tests.support.screen import Look, dashboard

pytestmark = pytest.mark.needs("chromium")


def test_the_best_policy_is_compared_and_used(look: Look, lived: Settings, tmp_path: Path):
    settings = copied(lived, tmp_path / "project")
    with Project.open(settings) as project:
        token = project.keys.add("ann", ["admin"])
        with dashboard(settings.root) as address:
            screen = look(address).open("Policy")
            screen.says(r"Computed with \d+ customers scored from")
            for name in ("In force", "Best: probability of at least", "Everyone", "Nobody"):
                screen.has_cell(name)
            cost = screen.page.get_by_label("Cost of contacting a customer", exact=True)
            cost.fill("2")
            cost.press("Enter")
            screen.settled().says("Assumed, not measured: cost 2")
            screen.page.get_by_label("Reason", exact=True).fill("spring")
            screen.page.get_by_label("Admin key", exact=True).fill(token)
            screen.press("Use this").says(r"Policy \d+ is in force: a call list has every customer")
            screen.says("Decision policy .* is in force")
        policy = project.policy()
    assert (policy.cost, policy.reason, policy.by) == (2.0, "spring", "key 'ann'")


def test_segments_follow_the_column_and_results_are_above_the_form(look: Look, lived_in: str):
    screen = look(lived_in).open("Policy")
    screen.choose("Compare customers by", "State").says("customers with State .* bring most")
    headings = screen.page.get_by_role("heading").all_inner_texts()
    assert headings.index("What these customers would have brought") < headings.index("Assumptions")
