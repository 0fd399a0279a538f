"""The command of `make audit`, with a server of made-up advisories on this machine."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scripts.licences import REPOSITORY, groups, locked

from tests.support.web import Quiet, web_server

VULNERABLE = "numpy"
ADVISORY = {"id": "MADE-UP-1", "summary": "made up", "affected": [], "modified": "2026-01-01T00:00:00Z"}


@dataclass
class Advisories:
    """A service that answers as OSV does, and keeps the names of the packages it was asked for."""

    port: int = 0
    asked: set[str] = field(default_factory=set)


@pytest.fixture
def server() -> Iterator[Advisories]:
    advisories = Advisories()

    class Handler(Quiet):
        def do_POST(self) -> None:
            package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            advisories.asked.add(package)
            body = json.dumps({"vulns": [ADVISORY]} if package == VULNERABLE else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with web_server(Handler) as advisories.port:
        yield advisories


def test_audit_asks_for_each_package_and_names_the_vulnerable_one(server: Advisories) -> None:
    command = re.search(r"^\t\$\(BIN\)/(pip-audit .*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert command
    program, *options = shlex.split(command[1])
    local = ("--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{server.port}/v1/query")
    done = subprocess.run(
        (str(Path(sys.executable).with_name(program)), *options, *local, "--progress-spinner", "off"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.endswith("Found 1 known vulnerability in 1 package\n")
    assert re.search(rf"^{VULNERABLE} .* MADE-UP-1", done.stdout, re.MULTILINE)
    assert server.asked == {package.name for package in locked()} - groups()["other platforms"]
