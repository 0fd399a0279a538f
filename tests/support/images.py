"""Container images, built and run as root by buildah, without a registry, a daemon or privileges of containers.

A container shares this machine's network and sees its own files only.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from tests.support.projects import REPOSITORY

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PACKAGES = "python3,python3-venv,ca-certificates"
FILE_SYSTEMS = Path("/proc/filesystems")
SUITE = "bookworm"  # has Python 3.11


class Images:
    """Images in a folder of their own, and containers of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buildah = ("buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        self._buildah += ("--storage-driver", "overlay" if "\toverlay\n" in FILE_SYSTEMS.read_text() else "vfs")

    def call(self, *arguments: str) -> str:
        """Run a command of buildah, and return its output."""
        done = subprocess.run((*self._buildah, *arguments), capture_output=True, text=True, cwd=REPOSITORY)
        assert done.returncode == 0, f"buildah {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def close(self) -> None:
        """Remove the containers, and what the storage has mounted, so that the folder can be deleted."""
        self.call("rm", "--all")
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        for point in sorted((point for point in mounted if point.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(("umount", point), check=True)

    def make_base(self) -> str:
        """Make the image on which the Dockerfile builds, from Debian's packages, and return its name."""
        archive = self._folder / "base.tar"
        options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
        options += ['--aptopt=Acquire::Retries "10"']
        command = ("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *options, SUITE, archive)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        container = self.call("from", "scratch")
        self.call("add", container, str(archive), "/")
        archive.unlink()
        self.call("commit", "--quiet", "--rm", container, "localhost/base")
        return "localhost/base"

    def build(self, base: str, target: str) -> str:
        """Build a target of the Dockerfile with the pip settings of this machine, and return the image's name."""
        pip = self._folder / "pip.conf"
        pip.write_text(f"[global]\ncert = {CERTIFICATES}\nretries = 10\n", encoding="utf-8")
        options = ("--isolation", "chroot", "--format", "docker", "--layers", "--quiet")
        mounts = ("--secret", f"id=pip,src={pip}", "--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro")
        name = f"localhost/churnops-{target}"
        self.call("bud", *options, *mounts, "--build-arg", f"BASE={base}", "--target", target, "--tag", name, ".")
        return name

    def config(self, image: str) -> dict[str, Any]:
        """Return what an image says of its containers: user, healthcheck, labels."""
        config: dict[str, Any] = json.loads(self.call("inspect", "--type", "image", image))["Docker"]["config"]
        return config

    def bytes_compressed(self, image: str) -> int:
        """Return the size of an image as a registry keeps it: layers compressed by gzip."""
        folder = self._folder / "pushed"
        self.call("push", "--quiet", image, f"oci:{folder}:size")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        subprocess.run(("rm", "-rf", folder), check=True)
        return size

    def bytes_unpacked(self, image: str) -> int:
        """Return the sum of the sizes of an image's files."""
        container = self.call("from", image)
        folder = self.call("mount", container)
        size = subprocess.check_output(("du", "--summarize", "--bytes", folder), text=True)
        self.call("rm", container)
        return int(size.split()[0])

    def container(self, image: str, hosts: tuple[str, ...] = ()) -> "Container":
        """Make a container in which each name of `hosts` is this machine."""
        names = [word for host in hosts for word in ("--add-host", f"{host}:127.0.0.1")]
        return Container(self, self.call("from", *names, image))

    def command(self, container: str, *arguments: str) -> tuple[str, ...]:
        return (*self._buildah, "run", "--isolation", "chroot", *arguments, container, "--")


class Container:
    """A container; each command in it runs beside the others, with the files of all."""

    def __init__(self, images: Images, name: str) -> None:
        self._images = images
        self.name = name

    def start(
        self, *command: str, project: Path, variables: Mapping[str, str] | None = None, user: str = "1000:1000"
    ) -> "Popen[str]":
        """Start a command behind the image's entrypoint, with a project's folder mounted."""
        options = [word for name, value in (variables or {}).items() for word in ("--env", f"{name}={value}")]
        options += ["--volume", f"{project}:/srv/churn", "--user", user]
        # Processes of a container end with it, as with a container of Docker.
        words = (
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            *self._images.command(self.name, *options),
            "/usr/local/bin/entrypoint",
            *command,
        )
        return Popen(words, stdout=PIPE, stderr=PIPE, text=True, env={"PATH": os.environ["PATH"]})

    def run(self, *command: str, project: Path, code: int = 0, **options: Any) -> str:
        """Run a command to its end, check its exit code, and return its output."""
        with self.start(*command, project=project, **options) as process:
            output, errors = process.communicate()
        assert process.returncode == code, output + errors
        return output if code == 0 else errors
