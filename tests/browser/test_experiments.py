"""The Experiments page: experiments in words, and an admin key that starts, stops and promotes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from churnops.journal.keys import KeyStore
from churnops.project import Project
from churnops.settings import Settings, load_settings
from tests.support.experiments import live_shadow, start_with_threshold
from tests.support.fixture_project import PROJECTS, copy_project
from tests.support.projects import copied
from tests.support.screen import ATTACK, Look, Screen, dashboard

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
def settings(deployed: Settings, tmp_path: Path) -> Settings:
    return copied(deployed, tmp_path / "project")


@pytest.fixture
def project(settings: Settings) -> Iterator[Project]:
    with Project.open(settings) as project:
        yield project


def act(screen: Screen, action: str, token: str) -> None:
    """Choose an action, fill in its form, and press its button."""
    screen.page.get_by_text(action, exact=True).first.click()
    screen.settled()
    screen.page.get_by_label("Reason", exact=True).fill(f"enough {ATTACK}")
    screen.page.get_by_label("Admin key", exact=True).fill(token)
    screen.press(action)


def test_an_administrator_stops_and_starts_experiments(look: Look, settings: Settings, project: Project):
    with dashboard(settings.root) as address:
        screen = look(address).open("Experiments")
        screen.says("No experiment yet")
        screen.says(r"churnops keys add NAME --scope admin")
        store = KeyStore(project.engine)
        keys = {scope: store.add(f"{scope} {ATTACK}", [scope]) for scope in ("predict", "admin")}
        split = start_with_threshold(settings, "split", 0.3)
        screen.open("Experiments")
        screen.says(
            rf"Do fewer customers leave if {split.challenger_name} answers them instead of {split.champion_name}"
        )
        screen.says("There are too few outcomes. The first are due on ")
        screen.has_cell("30")
        act(screen, "Stop the running experiment", keys["predict"])
        screen.says("lacks the scope admin")
        assert project.experiments.running() is not None
        act(screen, "Stop the running experiment", keys["admin"])
        screen.says("Split 1 has stopped")
        ended = project.experiments.get(1)
        assert ended is not None
        assert ended.ended_why is not None
        assert "in the dashboard: key" in ended.ended_why
        act(screen, "Start a split", keys["admin"])
        screen.says("Not done: version 1 has the same content as the deployed model")
        secrets = [part for token in keys.values() for part in (token, token.split("_", 2)[2])]
        assert not [secret for secret in secrets if secret in screen.page.content()]


def test_an_admin_key_starts_stops_and_promotes_and_no_other(look: Look, tmp_path: Path):
    """Version 2 is deployed, and version 3 is registered."""
    settings = load_settings(copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml")
    with Project.open(settings) as project, dashboard(settings.root) as address:
        champion = project.require_deployed().content_sha256
        keys = KeyStore(project.engine)
        weak, admin = keys.add("crm", ["predict", "label"]), keys.add("ann", ["admin"])
        screen = look(address).open("Experiments")
        unknown, unfit = ("", "the key is not valid"), (weak, "the key 'crm' lacks the scope admin")
        refused = {"Start a split": unknown, "Start a shadow": unfit, "Promote a version": unknown}
        for action, (token, refusal) in refused.items():  # after five wrong keys in a minute, the sixth has to wait
            act(screen, action, token)
            screen.says(f"Not done: {refusal}")
        assert project.experiments.newest() == []
        assert project.require_deployed().content_sha256 == champion

        act(screen, "Start a split", admin)
        screen.says(r"Split 1 of version 3 has started")
        running = project.experiments.running("split")
        assert running is not None
        assert (running.version, running.share) == (3, 0.2)
        assert "in the dashboard: key 'ann'" in running.why
        act(screen, "Stop the running experiment", weak)
        screen.says("Not done: the key 'crm' lacks the scope admin")
        assert project.experiments.running() == running
        act(screen, "Stop the running experiment", admin)
        screen.says("Split 1 has stopped")
        assert project.experiments.running() is None

        act(screen, "Start a shadow", admin)
        screen.says(r"Shadow 2 of version 3 has started")
        live_shadow(settings, better=True)
        act(screen, "Promote a version", admin)
        screen.says(r"Version 3 \(.+\) is deployed: .*shadow 2: log loss is lower by")
        assert project.require_deployed().content_sha256 == running.challenger
        ended = project.experiments.get(2)
        assert ended is not None
        assert ended.state == "success"
