"""Locked packages have permissive licences or MPL-2.0; the bill of materials names all of them."""

import doctest
import json
import re

import pytest
from scripts import licences, sbom
from scripts.licences import LGPL, LOCK, TOOLS, groups, licence, locked, objection

NAMES = [package.name for package in locked()]


def test_examples_hold():
    for module in (licences, sbom):
        assert doctest.testmod(module).attempted
        assert not doctest.testmod(module).failed


def test_each_locked_package_may_be_a_dependency():
    assert [problem for name in NAMES if (problem := objection(name, licence(name)))] == []


def test_only_the_driver_of_postgresql_is_lgpl():
    assert {name: licence(name) for name in NAMES if "LGPL" in licence(name)} == LGPL


@pytest.mark.parametrize("expression", ["GPL-3.0-only", "MIT AND AGPL-3.0-or-later", "LGPL-3.0-only", "BUSL-1.1"])
def test_other_licences_are_refused(expression: str):
    assert objection("adder", expression)


def test_each_locked_package_is_in_a_group_and_no_tool_is():
    by_group = groups()
    tools = by_group.pop(TOOLS)
    assert set().union(*by_group.values()) == set(NAMES)
    assert tools.isdisjoint(NAMES)
    assert {"pytest", "hypothesis"} <= tools
    assert by_group["postgres"] == set(LGPL)
    assert "fastapi" in by_group["serve"] | by_group["core"]


def test_every_line_of_the_lock_is_read():
    assert len(NAMES) == len(re.findall(r"^\S+==", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    assert all(package.version and package.hashes for package in locked())


def test_the_bill_of_materials_has_each_package_and_what_it_needs():
    document = json.loads(json.dumps(sbom.document()))
    assert [component["name"] for component in document["components"]] == NAMES
    needs = {entry["ref"].partition("@")[0]: entry["dependsOn"] for entry in document["dependencies"]}
    assert any(ref.startswith("pkg:pypi/psycopg-binary@") for ref in needs["pkg:pypi/psycopg"])
    assert any(ref.startswith("pkg:pypi/numpy@") for ref in needs["pkg:pypi/churnops"])
    references = {component["bom-ref"] for component in document["components"]}
    assert {ref for refs in needs.values() for ref in refs} <= references


def test_the_bill_of_materials_follows_its_schema():
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom.document())) is None
