"""The images serve and train without root, from a read-only file system, and are small."""

import logging
import re
from pathlib import Path

import pytest

from tests.support.images import Images
from tests.support.projects import write_project

MEGABYTE = 1_000_000
TABLES = "cd /opt/churnops/lib/python*/site-packages && tar c *polars* pyarrow | gzip | wc -c"
LIMITS = {"serve": 400 * MEGABYTE, "full": 750 * MEGABYTE}


@pytest.fixture(params=["serve", "full"])
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(f"{request.param}_image")
    return name


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that any account of a container may write to, as that of a project is for its owner."""
    tmp_path.chmod(0o777)
    return tmp_path


def test_size_compressed(images: Images, image: str, project: Path) -> None:
    limit = LIMITS[image.rpartition("-")[2]]
    size = images.bytes_compressed(image)
    sizes = [size, images.bytes_unpacked(image), int(images.container(image).run("sh", "-c", TABLES, project=project))]
    described = "%.0f MB compressed, %.0f MB unpacked; Polars and pyarrow: %.0f MB compressed"
    logging.info(f"%s: {described}", image, *(number / MEGABYTE for number in sizes))
    assert size <= limit


def test_only_the_project_and_tmp_are_writable(images: Images, image: str, project: Path) -> None:
    find = "find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' ! -path '/sys/*' 2>/dev/null || true"
    output = images.container(image).run("sh", "-c", f"id -u; {find}", project=project, user="10001:10001")
    user, *paths = output.split("\n")
    outside = [path for path in paths if path and not path.startswith(("/tmp", "/srv/churn", "/var/tmp", "/run/lock"))]
    assert (user, outside) == ("10001", [])


def test_commands_use_the_machine_code_of_the_image(images: Images, image: str, project: Path) -> None:
    """Nothing is compiled at the start: the copy of the machine code gets no new file."""
    count = "find $NUMBA_CACHE_DIR -type f | sort | sha256sum"
    output = images.container(image).run("sh", "-c", f"{count}; churnops warm; {count}", project=project)
    before, said, after = output.strip().split("\n")
    assert before == after
    assert "no project is here" in said


def test_a_command_without_its_packages_says_so(images: Images, serve_image: str, project: Path) -> None:
    write_project(project)
    errors = images.container(serve_image).run("churnops", "run", project=project, code=2, user="0:0")
    assert re.match(r"error: the package \w+ is missing: .*, and the image `full` has it\n", errors)
