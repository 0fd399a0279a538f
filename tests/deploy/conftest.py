"""The images of the Dockerfile, built once."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import Images


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    # In memory, where it has room: the images have a hundred thousand files.
    place = os.environ.get("PYTEST_DEBUG_TEMPROOT", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="churnops-images-", dir=place) as folder:
        images = Images(Path(folder))
        yield images
        images.close()


@pytest.fixture(scope="session")
def base(images: Images) -> str:
    return images.make_base()


@pytest.fixture(scope="session")
def serve_image(images: Images, base: str) -> str:
    return images.build(base, "serve")


@pytest.fixture(scope="session")
def full_image(images: Images, base: str, serve_image: str) -> str:
    return images.build(base, "full")
