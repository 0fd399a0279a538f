"""`churnops models prune`: versions in use keep their files, and all files of another one go together."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from churnops.cli import main
from churnops.cli.completion import registered
from churnops.journal.predictions import write_predictions
from churnops.journal.replicas import ReplicaProcess
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry import Registry
from churnops.settings import Settings, load_settings
from churnops.tracking.models import log_bundle
from tests.support.commands import typed_in
from tests.support.deployments import copy, opened_registry
from tests.support.fixture_project import PROJECTS, copy_project
from tests.support.journals import a_prediction


class ProcessEndsError(BaseException):
    """Raised in place of the end of the process."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project with versions 1 to 3: 2 is deployed, 1 is the previous one, 3 the challenger; without predictions."""
    settings = load_settings(copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml")
    with Project.open(settings) as project, project.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM predictions")
    return settings


@pytest.fixture
def typed(settings: Settings) -> Callable[..., Result]:
    return typed_in(settings)


@pytest.fixture
def bundles(settings: Settings) -> dict[int, Bundle]:
    with opened_registry(settings) as registry:
        return {version.version: registry.bundle(version.version) for version in registry.versions()}


def deploy(settings: Settings, bundles: dict[int, Bundle], *versions: int) -> None:
    with opened_registry(settings) as registry:
        for version in versions:
            registry.deployed.deploy(bundles[version], version, "a test")


def files_of(settings: Settings, bundle: Bundle) -> list[str]:
    """Return the kinds of files that a version has."""
    bundles = [*settings.models.glob("versions/*"), *settings.path("mlartifacts").rglob("bundle")]
    same = [path for path in bundles if Bundle.load(path).content_sha256 == bundle.content_sha256]
    customers = settings.models.glob(f"*/{bundle.content_sha256}.*")
    return sorted({path.parent.name for path in (*same, *customers)})


ALL = ["artifacts", "reference", "trained_on", "versions"]


def test_two_versions_that_alternate_keep_one_folder_each(
    settings: Settings, typed: Callable[..., Result], bundles: dict[int, Bundle]
):
    deploy(settings, bundles, *[1, 2] * 6)
    assert len(list(settings.models.glob("versions/*"))) == 15
    lines = typed("models", "prune", "--keep", "1").stdout.splitlines()
    assert lines[:3] == [
        "version 3 stays: it has the alias challenger",
        "version 2 stays: deployed; 7 folders removed",
        "version 1 stays: target of `churnops rollback`; 6 folders removed",
    ]
    assert lines[3].startswith("Removed 13 folders, ")
    assert [files_of(settings, bundles[number]) for number in (1, 2)] == [ALL, ALL]
    assert "version 1 " in typed("rollback").stdout


def test_all_files_of_a_version_that_is_not_in_use_go_together(
    settings: Settings, typed: Callable[..., Result], bundles: dict[int, Bundle]
):
    deploy(settings, bundles, 3)
    listed = json.loads(typed("models", "--json").stdout)["versions"]
    assert [v["state"] for v in listed] == ["production", "previous", "archived"]
    trial = json.loads(typed("models", "prune", "--keep", "0", "--dry-run", "--json").stdout)
    assert [(v["version"], v["stays"], len(v["folders"])) for v in trial["versions"]] == [
        (3, True, 0),
        (2, True, 1),
        (1, False, 1),
    ]
    assert (trial["dry_run"], trial["bytes"]) == (True, 0)
    assert files_of(settings, bundles[1]) == ALL

    removed = json.loads(typed("models", "prune", "--keep", "0", "--json").stdout)
    assert removed["removed"] == trial["removed"]
    assert removed["bytes"] > 100_000
    assert [files_of(settings, bundles[number]) for number in (1, 2, 3)] == [[], ALL, ALL]
    refused = typed("promote", "1", "--reason", "again", "--force", code=2)
    assert "version 1 has no files any more: `churnops models prune` removed them" in refused.stderr
    assert list(registered(settings)) == ["3", "2"]
    listed = json.loads(typed("models", "--json").stdout)["versions"]
    assert [(v["state"], v["files"]) for v in listed] == [
        ("production", "kept"),
        ("previous", "kept"),
        ("archived", "removed"),
    ]
    assert "version 1" not in typed("models", "prune", "--keep", "0").stdout
    assert "version 2 " in typed("rollback").stdout


def test_a_folder_of_a_version_that_mlflow_lacks_is_removed(
    settings: Settings, typed: Callable[..., Result], bundles: dict[int, Bundle]
):
    with opened_registry(settings) as registry:
        registry.deployed.deploy(replace(bundles[1], threshold=0.9), 9, "not in the store")
        registry.deployed.rollback(registry.deployed.folder_of(1), "back")
    shown = typed("models", "prune", "--keep", "0", "--dry-run").stdout
    assert "version 9 would be removed: not in use (1 folder)\n" in shown
    typed("models", "prune", "--keep", "0")
    assert not list(settings.models.glob("versions/*-v9"))


def test_the_model_of_a_pruned_version_is_registered_again(
    settings: Settings, typed: Callable[..., Result], bundles: dict[int, Bundle]
):
    deploy(settings, bundles, 3)
    shown = typed("models", "prune", "--keep", "0").stdout
    assert "Removed 2 folders and 1 model in MLflow, " in shown
    with opened_registry(settings) as registry:
        run = registry._client.create_run("0").info.run_id
        assert registry.register(bundles[1], log_bundle(bundles[1], run), run) == 4
        registry.deployed.deploy(bundles[1], 4, "again")
        assert registry.version_of(bundles[1].content_sha256) == 4
    assert "version 4 stays: deployed" in typed("models", "prune", "--keep", "0").stdout


STEPS: dict[str, tuple[Any, str]] = {
    "after the mark": ("churnops.registry.folder.DeploymentFolder", "remove"),
    "after the folders": ("churnops.registry.place.Place", "remove_customers"),
    "before the files in MLflow": ("churnops.registry.registry", "remove_files"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_pruning_is_finished_by_the_next_one(
    settings: Settings,
    typed: Callable[..., Result],
    bundles: dict[int, Bundle],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
):
    def stop(*_args: object) -> None:
        raise ProcessEndsError

    deploy(settings, bundles, 3)
    with monkeypatch.context() as patch:
        patch.setattr(".".join(STEPS[step]), stop)
        with pytest.raises(ProcessEndsError):
            typed("models", "prune", "--keep", "0")
    assert "has no files any more" in typed("promote", "1", "--reason", "again", code=2).stderr
    assert "version 1 removed: not in use" in typed("models", "prune", "--keep", "9").stdout
    assert [files_of(settings, bundles[number]) for number in (1, 2, 3)] == [[], ALL, ALL]


def predicts(project: Project, registry: Registry, content_sha256: str) -> None:
    write_predictions(project.engine, [a_prediction(datetime.now(UTC), content_sha256=content_sha256)])


def answers(project: Project, registry: Registry, content_sha256: str) -> None:
    row = ReplicaProcess("one", "api-1", "0.0.0.0:8000", 1, "0.1.0", datetime.now(UTC), content_sha256=content_sha256)
    project.replicas.write(row)


def has_an_alias(project: Project, registry: Registry, content_sha256: str) -> None:
    registry._client.set_registered_model_alias(registry.name, "spring", "1")


USES: dict[str, Callable[[Project, Registry, str], None]] = {
    "its predictions wait for outcomes": predicts,
    "api-1 0.0.0.0:8000 answers with it": answers,
    "it has the alias spring": has_an_alias,
}


@pytest.mark.parametrize("use", USES)
def test_a_version_in_use_stays_with_its_reason(
    settings: Settings, typed: Callable[..., Result], bundles: dict[int, Bundle], use: str
):
    deploy(settings, bundles, 1, 2, 3)
    with Project.open(settings) as project, opened_registry(settings) as registry:
        USES[use](project, registry, bundles[1].content_sha256)
    assert f"version 1 stays: {use}; 1 folder removed" in typed("models", "prune", "--keep", "0").stdout
    assert files_of(settings, bundles[1]) == ALL


def test_files_outside_of_a_copied_project_stay(settings: Settings, tmp_path: Path, bundles: dict[int, Bundle]):
    deploy(settings, bundles, 3)
    copied = copy(settings.root, tmp_path / "copied")
    shown = CliRunner().invoke(main, ["--config", str(copied.path("config.yaml")), "models", "prune", "--keep", "0"])
    assert "version 1 stays: its files in MLflow are outside of this project" in shown.stdout
    assert files_of(settings, bundles[1]) == ALL


def test_the_newest_versions_and_those_of_others_stay(
    settings: Settings, typed: Callable[..., Result], bundles: dict[int, Bundle]
):
    deploy(settings, bundles, 1, 3)
    assert "version 2 stays: one of the newest versions" in typed("models", "prune", "--keep", "2", "--dry-run").stdout
    deploy(settings, bundles, 2, 1)
    with opened_registry(settings) as registry:
        registry._client.delete_model_version_tag(registry.name, "3", "content_sha256")
    shown = typed("models", "prune", "--keep", "0").stdout
    assert "version 2 stays: target of `churnops rollback`" in shown
    assert files_of(settings, bundles[3])[0] == "artifacts"
