"""Scheduler, worker and a client with the commands and variables of `deploy/kubernetes/dask`, and real certificates."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.kubernetes import FOLDER, Pod, render
from tests.support.processes import free_port, wait_for

MANIFESTS = FOLDER / "dask"
SECRET = "/etc/churnops-dask"
CLIENT = """
import os
from churnops.cluster import completed, open_workers
with open_workers(os.environ["CHURNOPS_CLUSTER__ADDRESS"], 1) as workers:
    print(sorted(completed(workers, abs, [(-1,), (-2,)])))
"""
Client = Callable[[Path], "subprocess.CompletedProcess[str]"]


def make_secret(folder: Path) -> Path:
    """Write the files of a Secret as cert-manager makes it."""
    folder.mkdir()
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=dask")
    files = ("-keyout", folder / "tls.key", "-out", folder / "tls.crt")
    subprocess.run(("openssl", "req", "-x509", *curve, *files), check=True, capture_output=True)
    (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())
    return folder


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_secret(tmp_path_factory.mktemp("certificates") / "secret")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, secret: Path) -> Iterator[Client]:
    """Start scheduler and worker on this machine; yield a program that uses them as a job with a Secret."""
    manifests, port, folder = render(MANIFESTS), str(free_port()), tmp_path_factory.mktemp("dask")

    def here(text: str, files: Path = secret) -> str:
        own = {SECRET: str(files), "churnops-dask": "127.0.0.1", "8786": port, "8788": "0", "/tmp": str(folder)}
        return re.sub("|".join(own), lambda match: own[match[0]], text)

    def variables(pod: Pod, files: Path = secret) -> dict[str, str]:
        settings = manifests.variables(pod, {})
        return os.environ | {name: here(value, files) for name, value in settings.items()}

    def ask(files: Path) -> "subprocess.CompletedProcess[str]":
        environment = variables(manifests.pod("churnops-dask-worker"), files)
        return subprocess.run((sys.executable, "-c", CLIENT), env=environment, capture_output=True, text=True)

    with ExitStack() as stack:
        for name in ("scheduler", "worker"):
            pod, log = manifests.pod(f"churnops-dask-{name}"), folder / f"{name}.log"
            _, role, *arguments = map(here, pod.container["args"])
            command = (sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments, "--host", "127.0.0.1")
            with log.open("wb") as output:
                process = subprocess.Popen(command, stdout=output, stderr=output, env=variables(pod))
            stack.callback(process.wait)
            stack.callback(process.kill)
            wait_for(f"the {name}", lambda path=log: b" at: " in path.read_bytes())
        yield ask


def test_a_job_works_on_the_cluster(client: Client, secret: Path) -> None:
    done = client(secret)
    assert (done.returncode, done.stdout) == (0, "[1, 2]\n"), done.stderr


def test_another_certificate_is_refused(client: Client, tmp_path: Path) -> None:
    done = client(make_secret(tmp_path / "stranger"))
    assert done.returncode != 0
    assert "ClusterError" in done.stderr.splitlines()[-1]
