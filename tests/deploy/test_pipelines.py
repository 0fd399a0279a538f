"""The pipelines of GitHub and GitLab are valid, and their steps take a new model to production and back."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from churnops.settings import load_settings
from tests.support.deployments import aliases
from tests.support.processes import run_fresh
from tests.support.projects import REPOSITORY, quick, write_project, write_small_data
from tests.support.web import Quiet, web_server

WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
GITLAB = REPOSITORY / ".gitlab-ci.yml"
MODEL = REPOSITORY / "deploy/pipelines/model"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in (*WORKFLOWS, GITLAB)}


@pytest.mark.parametrize(
    "command",
    [
        ("actionlint", *WORKFLOWS),
        ("zizmor", "--offline", "--quiet", REPOSITORY / ".github"),
        ("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS),
        ("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", GITLAB),
    ],
    ids=lambda command: Path(command[-1]).name + " " + command[0],
)
def test_the_linter_accepts(command: tuple[str | Path, ...]):
    program = Path(sys.executable).with_name(str(command[0]))
    done = subprocess.run((program, *command[1:]), capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_action_is_pinned_by_its_commit():
    for name, text in TEXTS.items():
        for action in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}|\./\.github/\S+", action), f"{name}: {action}"


@pytest.mark.parametrize("name", TEXTS)
def test_each_target_of_make_exists(name: str):
    targets = set(re.findall(r"^([\w./-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    used = {word for words in re.findall(r"\bmake ([a-z./ -]+)$", TEXTS[name], re.MULTILINE) for word in words.split()}
    used.update(*(listed.split(", ") for listed in re.findall(r"(?:target|TARGET): \[(.*)\]", TEXTS[name])))
    assert used <= targets
    assert used or name in ("tests.yml", "release.yml")


def test_both_pipelines_take_every_step_of_a_model():
    steps = set(re.findall(r"^(\w+)\)$", MODEL.read_text(), re.MULTILINE))
    assert steps == {"validate", "train", "gate", "promote", "watch", "rollback"}
    for name in ("model.yml", ".gitlab-ci.yml"):
        assert set(re.findall(r"deploy/pipelines/model (\w+)", TEXTS[name])) == steps


@pytest.fixture
def project(tmp_path: Path) -> Path:
    def change(document: dict[str, Any]) -> None:
        quick(document)
        document["training"]["families"] = ["decision_tree"]

    write_project(tmp_path, change)
    write_small_data(tmp_path, 400)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/churnops"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m churnops.cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


def step(project: Path, name: str, code: int = 0, **variables: str) -> str:
    path = f"{project}/bin:/usr/bin:/bin"
    done = run_fresh(str(MODEL), name, cwd=project, code=code, PATH=path, **variables)
    return done.stdout + done.stderr


@contextmanager
def alerts(firing: int) -> Iterator[str]:
    """Yield the address of a Prometheus in which a number of alerts fire."""
    answer = {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, str(firing)]}]},
    }

    class Handler(Quiet):
        def do_GET(self):
            assert self.path.startswith("/api/v1/query?query=count%28ALERTS")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

    with web_server(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_model_goes_to_production_and_back(project: Path):
    settings = load_settings(project / "config.yaml", {})
    step(project, "validate")
    step(project, "train")
    assert (project / "pipeline/model_card.html").exists()
    assert settings.models.joinpath("production").exists() is False
    assert "version 1, held: no model was deployed before" in step(project, "gate")
    step(project, "promote", REASON="the first one")
    assert aliases(settings)["production"] == 1

    raw = project / "data/raw/churn-20.csv"
    raw.write_text("".join(raw.read_text().splitlines(keepends=True)[:-60]))
    step(project, "train")
    assert "version 2, challenger: " in step(project, "gate", code=1)

    run_fresh(sys.executable, "-m", "churnops.cli", "promote", "2", "--reason", "by force", "--force", cwd=project)
    quickly = {"WATCH_MINUTES": "1", "WATCH_SECONDS": "0"}
    with alerts(firing=0) as quiet, alerts(firing=1) as loud:
        step(project, "watch", **quickly, PROMETHEUS_URL=quiet)
        step(project, "watch", code=1, **quickly, PROMETHEUS_URL=loud)
    step(project, "rollback", REASON="the watch failed")
    assert aliases(settings)["production"] == 1
