"""Terraform files of three clouds: they parse, their arguments and settings exist, and checkov accepts them."""

import doctest
import json
import re
import subprocess
from typing import Any

import pytest
from scripts.clouds import declared
from scripts.clouds.__main__ import FOLDER, LIST, parsed, tools

from churnops.settings import Settings
from tests.support.projects import REPOSITORY

TEXTS = {str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*/*.tf"))}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return parsed()


def test_the_parser_accepts_the_files(content: dict[str, Any]):
    assert {folder: (entry["problems"], entry["formatted"]) for folder, entry in content.items()} == dict.fromkeys(
        ("aws", "azure", "gcp"), (None, True)
    )


def test_each_argument_was_compared_with_the_providers_types(content: dict[str, Any]):
    """If not: `python -m scripts.clouds`."""
    compared = json.loads(LIST.read_text(encoding="utf-8"))
    assert {folder: entry["resources"] for folder, entry in content.items()} == {
        folder: entry["resources"] for folder, entry in compared.items()
    }
    for folder, entry in compared.items():
        major, minor, _ = entry["provider"].split(".")
        assert f'version = "~> {major}.{minor}"' in TEXTS[f"{folder}/main.tf"]


def test_examples_of_the_comparison_hold():
    assert doctest.testmod(declared).attempted
    assert not doctest.testmod(declared).failed


def test_checkov_accepts_the_files():
    command = (tools() / "checkov", "--config-file", FOLDER / ".checkov.yaml")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", [name for name in TEXTS if name.endswith("main.tf")])
def test_settings_paths_and_ports_are_those_of_the_product(file: str):
    for variable in re.findall(r"CHURNOPS_(\w+)", TEXTS[file]):
        section, key = variable.lower().split("__")
        assert key in Settings.model_fields[section].annotation.model_fields, variable  # type: ignore[union-attr]
    routes = (REPOSITORY / "src/churnops/api/routes/health.py").read_text()
    text = TEXTS[file] + TEXTS.get(file.replace("main", "network"), "")
    paths = re.findall(r'path += "(.*)"', text)
    assert paths
    assert [path for path in paths if f'"{path}"' not in routes] == []
    assert set(re.findall(r"[pP]ort\w* += (\d{4})", text)) <= {"8000", "5432"}
    assert '["churnops", "serve", "--host", "0.0.0.0"]' in text
