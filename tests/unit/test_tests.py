"""The rule that keeps test modules apart: helpers that several share are in `tests.support`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.projects import REPOSITORY

PRIVATE = ("test_", "conftest")


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("folder", ["tests", "scripts", "benchmarks"])
def test_no_module_imports_a_test_module(folder: str):
    for path in (REPOSITORY / folder).rglob("*.py"):
        for name in imported_modules(path):
            assert not name.startswith("."), f"{path}: {name} is relative"
            private = name.startswith("tests.") and any(part.startswith(PRIVATE) for part in name.split("."))
            assert not private, f"{path} imports {name}; helpers that several modules share belong in tests.support"
