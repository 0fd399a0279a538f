"""`compose.yaml` without Docker: its services as commands in containers of the images, all on this machine."""

import re
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

import yaml

from tests.support.images import Container, Images
from tests.support.processes import wait_for
from tests.support.projects import REPOSITORY

FILE = REPOSITORY / "compose.yaml"


class Compose:
    """The services that use our images. Each finds the others under their names, on this machine.

    Parameters
    ----------
    images
        Store of the images.
    names
        Our image of each name in the file, such as "churnops-serve:0.1.0".
    variables
        Variables of the file, as in `.env`.
    more
        Variables of every container, beside those of the file.
    """

    def __init__(
        self,
        images: Images,
        names: Mapping[str, str],
        project: Path,
        variables: Mapping[str, str],
        more: Mapping[str, str],
    ) -> None:
        self.services: dict[str, Any] = yaml.safe_load(_filled(FILE.read_text(encoding="utf-8"), variables))["services"]
        hosts = tuple(self.services)
        self._containers = {name: images.container(image, hosts) for name, image in names.items()}
        self._configs = {name: images.config(image) for name, image in names.items()}
        self._project = project
        self._more = more

    def start(self, service: str, *command: str) -> "Popen[str]":
        """Start a command as `docker compose run` does, or the service's own."""
        settings = self.services[service]
        command = command or tuple(settings.get("command", self._configs[settings["image"]]["Cmd"]))
        return self._container(service).start(*command, **self._options(service))

    def run(self, service: str, *command: str) -> str:
        """Run a command to its end as `docker compose run --rm` does, and return its output."""
        return self._container(service).run(*command, **self._options(service))

    def check_health(self, service: str) -> None:
        """Run the healthcheck of a service, or of its image, until it succeeds; it may fail on a busy machine."""
        settings = self.services[service]
        check = settings.get("healthcheck", {}).get("test") or self._configs[settings["image"]]["Healthcheck"]["Test"]

        def is_healthy() -> bool:
            with self.start(service, *check[1:]) as process:
                process.communicate()
            return process.returncode == 0

        wait_for(f"{service} is healthy", is_healthy)

    def _container(self, service: str) -> Container:
        return self._containers[self.services[service]["image"]]

    def _options(self, service: str) -> dict[str, Any]:
        settings = self.services[service]
        return {
            "project": self._project,
            "user": settings["user"],
            "variables": {**settings["environment"], **self._more},
        }


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """Fill in `${NAME}`, `${NAME:-default}` and `${NAME:?message}`."""

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        assert name in variables or default is not None, f"{name} is needed"
        return variables.get(name) or default or ""

    return re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}", value, text)
