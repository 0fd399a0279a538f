"""The dashboard's pages of a project that an earlier version wrote."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from churnops.settings import ENV_CONFIG
from tests.support.fixture_project import copy_project


@pytest.fixture
def in_fixture_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None) -> Path:
    root = copy_project(tmp_path / "project")
    monkeypatch.setenv(ENV_CONFIG, str(root / "config.yaml"))
    return root


@pytest.mark.parametrize("name", ["call_list", "predict", "monitoring", "analysis", "models"])
def test_a_page_of_an_older_project_is_whole(in_fixture_project: Path, show: Callable[[str], AppTest], name: str):
    page = show(name)
    assert not page.exception
    assert not page.error
    assert "damaged" not in " ".join(str(box.value) for box in (*page.markdown, *page.caption, *page.warning))
