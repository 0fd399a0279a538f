"""The wheel and the sdist hold the whole package, and its extras can be installed.

The environment is empty but for the wheel. It sees the other packages of this environment, and not its churnops.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.projects import REPOSITORY

SOURCE = REPOSITORY / "src"
ALONE = {"PYTHONPATH": ""}


def build(project: Path, folder: Path, target: str) -> Path:
    """Build a wheel or an sdist of a source tree, as `make dist` does."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder))
    run_quietly(*command, cwd=project)
    return next(folder.glob("*.whl" if target == "wheel" else "*.tar.gz"))


def run_quietly(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | ALONE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(REPOSITORY, tmp_path_factory.mktemp("dist"), "wheel")


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's commands; the `.pth` files of this environment are not read in it."""
    folder = tmp_path_factory.mktemp("wheel") / "environment"
    run_quietly(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip(folder, "install", "--no-index", "--no-deps", "--ignore-installed", str(wheel))
    return folder / "bin"


def pip(environment: Path, *arguments: str) -> str:
    return run_quietly(sys.executable, "-m", "pip", "--python", str(environment), *arguments, cwd=environment)


def test_archives_hold_the_whole_package_and_its_data(wheel: Path, tmp_path: Path):
    """A wheel that is built from the sdist has the same bytes."""
    with tarfile.open(build(REPOSITORY, tmp_path, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert build(unpacked, tmp_path / "again", "wheel").read_bytes() == wheel.read_bytes()

    files = {f"churnops/{path}" for path in tracked("src/churnops") if path != "demo/data"}
    files |= {f"churnops/demo/data/{path}" for path in tracked("data")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == files
    assert {"churnops/py.typed", "churnops/demo/data/raw/churn-80.csv"} < names


def tracked(folder: str) -> list[str]:
    return subprocess.check_output(("git", "ls-files"), cwd=REPOSITORY / folder, text=True).splitlines()


def test_an_installed_package_installs_its_extras(environment: Path):
    """The command of the messages, `pip install 'churnops[serve]'`, asks no index for churnops itself."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    output = pip(environment.parent, "install", "--no-index", f"churnops[{','.join(extras)}]")
    assert re.search(r"already satisfied: churnops\[.*\] in \./lib/", output), output
