"""`registry.approval`: only a person with an API key deploys a model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from churnops.pipelines.release import ReleaseCandidate, release
from churnops.project import Project
from churnops.registry import Registry
from churnops.settings import ENV_APPROVAL_KEY, Settings, load_settings
from churnops.tracking import Tracker
from tests.support.commands import typed_in
from tests.support.fixture_project import PROJECTS, copy_project


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project with version 2 deployed and version 3 registered."""
    monkeypatch.setenv("CHURNOPS_REGISTRY__APPROVAL", "true")
    return load_settings(copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml")


@pytest.fixture
def typed(settings: Settings) -> Callable[..., Result]:
    return typed_in(settings)


def test_a_deployment_needs_a_key_and_the_history_names_it(
    settings: Settings, typed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    command = "promote", "3", "--reason", "read the card", "--force", "--json"
    ask = "registry.approval asks for an API key with the scope admin in CHURNOPS_REGISTRY__APPROVAL_KEY"
    assert ask in typed(*command, code=2).stdout
    for name, scope in (("app", "predict"), ("ann", "admin")):
        key = json.loads(typed("keys", "add", name, "--scope", scope, "--json").stdout)["token"]
        monkeypatch.setenv(ENV_APPROVAL_KEY, key)
        done = typed(*command, code=0 if name == "ann" else 2)
        assert (ask in done.stdout) == (name != "ann")
    assert json.loads(done.stdout)["status"] == "deployed"
    assert "version 3 deployed by ann (API key): read the card" in typed("models").stdout
    assert key not in typed("models", "--json").stdout

    typed("keys", "revoke", "ann")
    assert ask in typed("promote", "2", "--reason", "back", code=2).stderr
    assert "version 2 " in typed("rollback").stdout  # a rollback needs no approval


def test_an_unapproved_candidate_becomes_the_challenger(settings: Settings):
    registry_settings = settings.registry.model_copy(update={"webhook": "http://127.0.0.1:9"})
    settings = settings.model_copy(update={"registry": registry_settings})
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        with registry.deployed.locked():
            candidate = ReleaseCandidate(registry.bundle(1), 1, "requested with --deploy")
            released = release(project, registry, candidate, gate="skip")
        assert released.status == "held"
        assert released.reason == "requested with --deploy; `churnops promote 1` approves and deploys it"
        assert "registry.webhook was not told" in (released.warning or "")
        assert next(v.aliases for v in registry.versions() if v.version == 1) == ("challenger", "previous")
        assert project.require_deployed().version_name.startswith("xgboost")
