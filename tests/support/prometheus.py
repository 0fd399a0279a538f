"""A real Prometheus, with the configuration and rules of `deploy/prometheus`."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.projects import REPOSITORY

FOLDER = REPOSITORY / "deploy/prometheus"


class Prometheus:
    """A Prometheus of its own that reads a service every second, with our rules."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **arguments: str) -> Any:
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=PATIENCE) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def value(self, query: str) -> float | None:
        """Return the only value of a query, None if it has none."""
        found = self.ask("query", query=query)["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def states(self) -> dict[str, str]:
        """Return the states of the alerts that are not inactive."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.ask("alerts")["alerts"]}


@contextmanager
def prometheus(folder: Path, target: int, key: str) -> Iterator[Prometheus]:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(FOLDER / "churnops.rules.yml", folder)
    (folder / "churnops.key").write_text(f"{key}\n")
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    found = Prometheus(port)
    try:
        wait_for("Prometheus is ready", found.is_ready)
        yield found
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)
