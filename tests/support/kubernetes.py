"""The manifests of `deploy/kubernetes`, rendered by `kubectl kustomize`, and their pods."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.projects import REPOSITORY

FOLDER = REPOSITORY / "deploy/kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")


@dataclass(frozen=True)
class Pod:
    """The pod of a Deployment or CronJob."""

    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def container(self) -> Mapping[str, Any]:
        (container,) = self.spec["containers"]
        assert isinstance(container, Mapping)
        return container

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", ())}

    @property
    def volumes(self) -> dict[str, Any]:
        return {volume["name"]: volume for volume in self.spec["volumes"]}

    def matches(self, selector: Mapping[str, Any]) -> bool:
        """Return whether a selector of labels selects this pod."""
        exact = selector.get("matchLabels", {}).items() <= self.labels.items()
        return exact and all(
            rule["operator"] == "In" and self.labels.get(rule["key"]) in rule["values"]
            for rule in selector.get("matchExpressions", ())
        )


@dataclass(frozen=True)
class Manifests:
    """The objects of one overlay."""

    objects: tuple[dict[str, Any], ...]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the objects of a kind, by name."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == kind}

    @property
    def pods(self) -> list[Pod]:
        return list(self._pods())

    def _pods(self) -> Iterator[Pod]:
        jobs = {name: job["spec"]["jobTemplate"] for name, job in self.of("CronJob").items()}
        for name, each in (self.of("Deployment") | jobs).items():
            template = each["spec"]["template"]
            yield Pod(name, template["metadata"]["labels"], template["spec"])

    def pod(self, name: str) -> Pod:
        return next(pod for pod in self.pods if pod.name == name)

    def variables(self, pod: Pod, secrets: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a pod; those of the Secret have the given values."""
        variables: dict[str, str] = {}
        for source in pod.container["envFrom"]:
            if reference := source.get("configMapRef"):
                variables |= self.of("ConfigMap")[reference["name"]]["data"]
        for each in pod.container.get("env", ()):
            variables[each["name"]] = secrets[each["valueFrom"]["secretKeyRef"]["key"]]
        return variables


@cache
def render(folder: Path) -> Manifests:
    """Render a folder with a kustomization."""
    done = subprocess.run((KUBECTL, "kustomize", folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Manifests(tuple(yaml.safe_load_all(done.stdout)))
