"""`deploy/kubernetes`: valid manifests, whose commands, ports, paths, variables and probes the product has."""

import re
from os.path import relpath
from pathlib import Path
from typing import Any

import dask.config
import kubernetes_validate
import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker

from churnops.api.routes import health
from churnops.api.stopping import STOP_SECONDS
from churnops.settings import load_settings
from tests.support.commands import problem
from tests.support.kubernetes import FOLDER, Manifests, Pod, render
from tests.support.projects import REPOSITORY

OVERLAYS = ("single", "replicas", "dask")
VERSIONS = ("1.35", "1.36", "1.37")
PAGE = (REPOSITORY / "docs/kubernetes.md").read_text(encoding="utf-8")
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))["services"]
SECRETS = {
    "PGPASSWORD": "secret",
    "CHURNOPS_ALERTS__URLS": '["json://alerts.example.org"]',
    "CHURNOPS_DASHBOARD__API_KEY": "secret",
    "CHURNOPS_RETRAINING__CHECK_KEY": "secret",
}
DASK = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}


@pytest.fixture(params=[*OVERLAYS, "docs"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> Manifests:
    """Manifests of each overlay, and of the example in the documentation."""
    if request.param != "docs":
        return render(FOLDER / request.param)
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "config.yaml").write_bytes((REPOSITORY / "config.yaml").read_bytes())
    text = text.replace("../churnops/deploy/kubernetes", relpath(FOLDER, tmp_path))
    (tmp_path / "kustomization.yaml").write_text(text)
    return render(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_object(manifests: Manifests, version: str) -> None:
    for each in manifests.objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_every_name_leads_to_an_object(manifests: Manifests) -> None:
    settings = manifests.of("ConfigMap").keys() | {"churnops-config"}  # the second is the user's
    for pod in manifests.pods:
        assert {mount["name"] for mount in pod.container["volumeMounts"]} == pod.volumes.keys()
        assert pod.spec["serviceAccountName"] in manifests.of("ServiceAccount")
        for volume in pod.volumes.values():
            assert volume.get("configMap", {"name": "churnops-config"})["name"] in settings
            claim = volume.get("persistentVolumeClaim", {"claimName": "churnops-project"})
            assert claim["claimName"] in manifests.of("PersistentVolumeClaim")
    for budget in manifests.of("PodDisruptionBudget").values():
        assert any(pod.matches(budget["spec"]["selector"]) for pod in manifests.pods)
    for scaler in manifests.of("HorizontalPodAutoscaler").values():
        assert scaler["spec"]["scaleTargetRef"]["name"] in manifests.of("Deployment")
    assert {each["metadata"].get("namespace", "churnops") for each in manifests.objects} == {"churnops"}


def test_services_and_policies_name_ports_that_pods_open(manifests: Manifests) -> None:
    for service in manifests.of("Service").values():
        (pod,) = [pod for pod in manifests.pods if pod.matches({"matchLabels": service["spec"]["selector"]})]
        assert {(port["targetPort"], port["port"]) for port in service["spec"]["ports"]} == set(pod.ports.items())
    for policy in manifests.of("NetworkPolicy").values():
        subjects = [pod for pod in manifests.pods if pod.matches(policy["spec"]["podSelector"])]
        assert subjects, policy
        for rule in policy["spec"].get("ingress", ()):
            assert {port["port"] for port in rule["ports"]} == {p for pod in subjects for p in pod.ports.values()}


def test_pods_meet_the_restricted_level(manifests: Manifests) -> None:
    (namespace,) = manifests.of("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in manifests.pods:
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"}
        kinds = {key for volume in pod.spec["volumes"] for key in volume} - {"name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
        assert not any("hostPort" in port for port in pod.container.get("ports", ()))
        assert pod.spec["automountServiceAccountToken"] is False


def test_secrets_are_in_no_file_and_listed_in_the_docs(manifests: Manifests) -> None:
    assert manifests.of("Secret") == {}
    for pod in manifests.pods:
        own = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in pod.container.get("env", ())}
        assert all((key["name"], key["key"]) == ("churnops", name) for name, key in own.items())
        assert manifests.variables(pod, SECRETS).keys() & SECRETS.keys() == own.keys()
        assert all(f"| `{name}` |" in PAGE for name in own)


def test_every_variable_is_a_setting_with_a_valid_value(manifests: Manifests) -> None:
    for pod in manifests.pods:
        variables = manifests.variables(pod, SECRETS)
        settings = load_settings(REPOSITORY / "config.yaml", variables)
        assert settings.dashboard.api_url == "http://churnops-api:8000"
        for name in variables:
            if name.startswith("DASK_"):
                dask.config.get(name.removeprefix("DASK_").lower().replace("__", "."))  # KeyError: unknown
            else:
                assert name.startswith("CHURNOPS_") or name == "PGPASSWORD"


def test_every_command_exists_with_its_options(manifests: Manifests) -> None:
    for pod in manifests.pods:
        program, command, *arguments = pod.container["args"]
        if program == "churnops":
            line = " ".join(f"'{word}'" for word in pod.container["args"])
            assert problem(line, complete=True) is None, line
        else:
            assert program == "dask"
            DASK[command].make_context(command, arguments)


def test_images_users_and_folders_are_those_of_the_dockerfile(manifests: Manifests) -> None:
    (user,) = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    (folder,) = re.findall(r"^WORKDIR (/srv\S*)$", DOCKERFILE, re.MULTILINE)
    for pod in manifests.pods:
        expected = COMPOSE["api" if pod.container["args"][1] == "serve" else "dashboard"]["image"]
        assert pod.container["image"].rpartition("/")[2] == expected
        security = pod.spec["securityContext"]
        assert {security["runAsUser"], security["runAsGroup"], security["fsGroup"]} == {int(user)}
        mounts = {mount["mountPath"] for mount in pod.container["volumeMounts"]}
        assert {"/tmp", f"{folder}/config.yaml"} <= mounts
        assert mounts <= {"/tmp", f"{folder}/config.yaml", folder, "/etc/churnops-dask"}


def test_probes_ask_paths_and_ports_that_the_programs_have(manifests: Manifests) -> None:
    settings = load_settings(REPOSITORY / "config.yaml", {})
    api = manifests.pod("churnops-api")
    assert api.ports == {"http": settings.api.port}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        request = api.container[kind]["httpGet"]
        assert (request["port"], request["path"] in {route.path for route in health.router.routes}) == ("http", True)
    check = manifests.pod("churnops-dashboard").container["readinessProbe"]["exec"]["command"]
    assert check == COMPOSE["dashboard"]["healthcheck"]["test"][1:]
    assert f":{settings.dashboard.port}/" in check[2]


def test_a_pod_has_time_to_stop_after_proxies_have_left_it(manifests: Manifests) -> None:
    pod = manifests.pod("churnops-api")
    pause = pod.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod.spec["terminationGracePeriodSeconds"] > pause + STOP_SECONDS


def test_pods_with_the_volume_of_one_node_run_on_one_node(manifests: Manifests) -> None:
    (volume,) = manifests.of("PersistentVolumeClaim").values()
    one_node = volume["spec"]["accessModes"] == ["ReadWriteOnce"]
    mounting = [pod for pod in manifests.pods if "persistentVolumeClaim" in pod.volumes.get("project", ())]
    assert len(mounting) >= 5
    for pod in manifests.pods:
        assert [term["topologyKey"] for term in terms(pod)] == ["kubernetes.io/hostname"] * (
            one_node and pod in mounting
        )
        assert all(other.matches(term["labelSelector"]) for term in terms(pod) for other in mounting)


def terms(pod: Pod) -> list[dict[str, Any]]:
    affinity = pod.spec.get("affinity", {}).get("podAffinity", {})
    return list(affinity.get("requiredDuringSchedulingIgnoredDuringExecution", ()))
