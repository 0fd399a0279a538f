"""A shadow typed by a person: start, report, stop, promotion by its evidence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from churnops.experiments.budget import gate_level, gate_options, shadow_level
from churnops.project import Project
from churnops.settings import Settings, load_settings
from tests.support.commands import typed_in
from tests.support.experiments import live_shadow
from tests.support.fixture_project import PROJECTS, copy_project


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project with version 2 deployed and version 3 registered."""
    return load_settings(copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml")


@pytest.fixture
def typed(settings: Settings) -> Callable[..., Result]:
    return typed_in(settings)


def test_evidence_of_a_shadow_deploys_its_version(settings: Settings, typed: Callable[..., Result]):
    assert "no shadow was started yet" in typed("shadow", "report", code=2).stderr
    started = typed("shadow", "start", "3", "--reason", "the new tariff").stdout
    assert started.startswith("Started shadow 1: version 3 (")
    assert "shadow 1 of version 3 is running: `churnops shadow stop`" in typed("shadow", "start", "1", code=2).stderr
    assert "challenger of shadow 1, which is running" in typed("models", "prune", "--keep", "0", "--dry-run").stdout
    first = json.loads(typed("shadow", "report", "--json").stdout)
    assert first["look"]["reason"] == "no customer's label horizon has ended yet"

    live_shadow(settings, better=True)
    shown = typed("shadow", "report").stdout
    assert "Better: log loss is lower by" in shown
    assert "changes their outcomes" in shown
    assert json.loads(typed("shadow", "report", "1", "--json").stdout)["state"] == "success"
    assert "no shadow is running" in typed("shadow", "stop", code=2).stderr

    promoted = json.loads(typed("promote", "3", "--reason", "by its shadow", "--json").stdout)
    assert promoted["status"] == "deployed"
    assert promoted["gate"]["reason"].startswith("shadow 1: log loss is lower by")
    assert promoted["gate"]["confidence"] == pytest.approx(1 - shadow_level(1, 0.95))


def test_a_worse_challenger_is_refused_and_a_rollback_ends_a_shadow(settings: Settings, typed: Callable[..., Result]):
    typed("shadow", "start", "3")
    live_shadow(settings, better=False)
    refused = typed("promote", "3", "--reason", "it is newer", code=2)
    assert "is not deployed: shadow 1: log loss is higher by" in refused.stderr
    assert json.loads(typed("shadow", "report", "--json").stdout)["state"] == "futility"

    typed("shadow", "start", "3", "--share", "0.5")
    typed("rollback")
    ended = json.loads(typed("shadow", "report", "--json").stdout)
    assert (ended["id"], ended["state"]) == (2, "stopped")
    assert ended["ended_why"].endswith("was deployed")


def test_the_gate_shares_the_budget_from_the_first_shadow_on(settings: Settings, typed: Callable[..., Result]):
    def confidence() -> float | None:
        with Project.open(settings) as project:
            return gate_options(project, project.require_deployed().content_sha256).confidence

    assert confidence() == 0.95
    typed("shadow", "start", "3")
    assert confidence() == pytest.approx(1 - gate_level(1, 0.95))
    typed("shadow", "stop", "--reason", "enough")
    typed("promote", "1", "--reason", "as before", code=2)
    assert confidence() == pytest.approx(1 - gate_level(2, 0.95))


def test_a_version_that_cannot_be_compared_is_refused(settings: Settings, typed: Callable[..., Result]):
    assert "version 2 has the same content as the deployed model" in typed("shadow", "start", "2", code=2).stderr
    assert "0.0<x<=1.0" in typed("shadow", "start", "3", "--share", "0", code=2).stderr
