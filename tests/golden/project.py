"""A copy of the fixture project, and the calls of its commands and API for golden answers."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from churnops.settings import load_settings
from tests.golden.masks import masked
from tests.support.fixture_project import copy_project

ENVIRONMENT = {
    "COLUMNS": "120",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "CHURNOPS_ALERTS__REPEAT_HOURS": "0",  # an alert of the fixture is never repeated, whatever its age
}


class GoldenProject:
    """A copy of the fixture project in a new folder, and its recorded answers by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: dict[str, Any] = {}
        # The fixture's settings have names of an earlier version, of which commands warn now.
        self.renamed = {f"warning: {line}" for line in load_settings(root / "config.yaml").renamed}
        assert len(self.renamed) == 3

    def record(self, name: str, value: Any, *, fitted: bool = False) -> None:
        """Record a masked answer."""
        assert name not in self.answers, f"two answers are called {name}"
        self.answers[name] = masked(value, self.root, fitted=fitted)

    def run(self, *command: str, fitted: bool = False, name: str = "", **variables: str) -> Any:
        """Run a command and record its exit code, output and messages; return the document of `--json`."""
        from churnops.cli import main

        result = CliRunner().invoke(main, list(command), prog_name="churnops", env=variables)
        answer: dict[str, Any] = {"exit code": result.exit_code}
        document = None
        if "--json" in command and result.stdout.strip():
            document = answer["document"] = json.loads(result.stdout)
        elif result.stdout:
            answer["output"] = [line.rstrip() for line in result.stdout.splitlines()]
        if messages := [line for line in result.stderr.splitlines() if line not in self.renamed]:
            answer["messages"] = messages
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.record(name or " ".join(["churnops", *command]), answer, fitted=fitted)
        return document


@contextmanager
def golden_project(folder: Path) -> Iterator[GoldenProject]:
    """Copy the fixture project, and use it as the working folder until the block ends."""
    root = copy_project(folder / "project")
    before = Path.cwd()
    environment: Mapping[str, str] = ENVIRONMENT | {"CHURNOPS_CONFIG": str(root / "config.yaml")}
    with patch.dict(os.environ, environment):
        os.chdir(root)
        try:
            yield GoldenProject(root)
        finally:
            os.chdir(before)
