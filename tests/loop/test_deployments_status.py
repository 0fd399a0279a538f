"""`churnops deployments status`: the replicas of the service, and the model that each answers with."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from churnops.cli import main
from churnops.journal.replicas import ReplicaProcess
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry import replicas
from churnops.retraining.follow import check_replicas
from churnops.settings import Settings
from tests.support.processes import PATIENCE, wait_for
from tests.support.serving import Deployer, Server

NOW = datetime.now(UTC)
OTHER = ReplicaProcess("a", "api-2", "0.0.0.0:8000", 7, "0.1.0", NOW, "earlier", "tree-1", "1" * 64, NOW, "earlier")


def status(settings: Settings, *options: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(settings.root / "config.yaml"), "deployments", "status", *options])


def test_without_a_service_it_says_so(deployed: Settings):
    result = status(deployed)
    assert result.exit_code == 0
    assert "No replica of the service has reported" in result.output


@pytest.mark.parametrize(("follow", "code"), [(timedelta(days=1), 0), (timedelta(), 2)])
def test_a_replica_that_stays_behind_is_an_error(
    deployed: Settings, monkeypatch: pytest.MonkeyPatch, follow: timedelta, code: int
):
    monkeypatch.setattr(replicas, "FOLLOW", follow)
    with Deployer(deployed) as deployer, Project.open(deployed) as project:
        deployer.deploy(project.require_deployed())
        project.replicas.write(OTHER)
        project.replicas.write(replace(OTHER, id="b", host="api-1", folder=project.folder.current()))
    result = status(deployed, "--json")
    assert result.exit_code == code
    document = json.loads(result.stdout)
    assert document["production"] == deployed.path("models/production").readlink().name
    assert [(one["host"], one["state"]) for one in document["replicas"]] == [("api-1", "current"), ("api-2", "behind")]
    output = status(deployed).output
    assert ("error: not every replica has followed" in output) == (code == 2)


def test_a_running_service_is_listed_follows_refuses_and_leaves(
    make_settings: Callable[..., Settings], bundles: tuple[Bundle, Bundle]
):
    settings = make_settings()

    def listed() -> list[dict[str, Any]]:
        document: dict[str, Any] = json.loads(status(settings, "--json").stdout)
        return document["replicas"]

    with (
        Server(settings, "--workers", "2") as server,
        Deployer(settings) as deployer,
        Project.open(settings) as project,
    ):
        (one,) = wait_for("two workers", lambda: [one for one in listed() if one["workers"] == 2])
        assert (one["state"], one["address"]) == ("current", f"127.0.0.1:{server.port}")
        folder = deployer.deploy(bundles[0])
        assert check_replicas(project.replicas, folder.name, PATIENCE).status == "passed"
        assert listed()[0]["model_version"] == bundles[0].version_name
        for path in folder.iterdir():
            path.unlink()
        link = settings.path("models/production")
        link.unlink()
        (settings.path("models/versions") / "damaged").mkdir()
        link.symlink_to("versions/damaged")
        check = check_replicas(project.replicas, "damaged", PATIENCE)
        assert check.status == "failed"
        assert f"127.0.0.1:{server.port} refuses it: " in check.reason
        assert "bundle.json" in check.reason
        server.terminate()
        assert server.exit_code() == 0
        assert project.replicas.read() == []
