"""`registry.webhook`: a signed request for each version that enters a state."""

import hmac
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from churnops.cli import main
from churnops.project import Project
from churnops.settings import load_settings
from tests.support.fixture_project import PROJECTS, copy_project
from tests.support.sinks import listening


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., Result]:
    """Type a command in a project with version 2 deployed, 1 as the previous one, 3 as the challenger."""
    config = copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml"
    with Project.open(load_settings(config)) as project, project.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM predictions")

    def run(*command: str) -> Result:
        result = CliRunner().invoke(main, ["--config", str(config), *command])
        assert result.exit_code == 0, result.output
        return result

    return run


def test_each_change_of_state_is_sent_and_signed(typed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHURNOPS_REGISTRY__WEBHOOK_SECRET", "a-secret")
    with listening() as endpoint:
        monkeypatch.setenv("CHURNOPS_REGISTRY__WEBHOOK", f"http://127.0.0.1:{endpoint.port}/hook")
        typed("promote", "3", "--reason", "try it", "--force")
        typed("rollback", "--reason", "complaints")
        typed("promote", "3", "--reason", "again", "--force")
        typed("models", "prune", "--keep", "0")
    sent = [body for _, body in endpoint.asked]
    assert [(body["version"], body["state"]) for body in sent] == [
        (3, "production"),
        (2, "production"),
        (3, "production"),
        (1, "archived"),
    ]
    assert sent[1]["reason"] == "complaints"
    assert {path for path, _ in endpoint.asked} == {"/hook"}
    for body, signature in endpoint.signed:
        assert signature == f"sha256={hmac.new(b'a-secret', body, 'sha256').hexdigest()}"


@pytest.mark.parametrize(("status", "why"), [(500, "it answered with status 500"), (None, "does not answer")])
def test_a_receiver_that_fails_is_a_warning(
    typed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, status: int | None, why: str
):
    with listening(status=status or 200) as endpoint:
        port = endpoint.port if status else 9
        monkeypatch.setenv("CHURNOPS_REGISTRY__WEBHOOK", f"http://127.0.0.1:{port}/hook")
        done = json.loads(typed("promote", "3", "--reason", "try it", "--force", "--json").stdout)
    assert done["status"] == "deployed"
    assert f"registry.webhook was not told: {why}" in done["warning"]
    assert [signature for _, signature in endpoint.signed] == ([None] if status else [])
