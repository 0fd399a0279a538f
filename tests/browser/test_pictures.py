"""The pictures in docs/images can be taken again, from the pages as they are today."""

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser
from scripts.dashboard_pictures import WIDTH, photograph_pages

from tests.support.projects import REPOSITORY

pytestmark = pytest.mark.needs("chromium")


def test_every_page_picture_in_the_docs_is_taken_from_a_real_run(browser: Browser, lived_in: str, tmp_path: Path):
    photograph_pages(browser, lived_in, tmp_path)
    taken = {picture.name for picture in tmp_path.iterdir()}
    assert taken == {picture.name for picture in (REPOSITORY / "docs/images").glob("dashboard-*.png")}
    assert set(re.findall(r"dashboard-[\w-]+\.png", (REPOSITORY / "docs/dashboard.md").read_text())) == taken
    for name in taken:
        with Image.open(tmp_path / name) as picture:
            assert picture.width == WIDTH
            assert len(picture.convert("L").getcolors()) > 50  # it is not blank
