"""`churnops call-list` and `churnops call-lists`, on a project that an earlier version wrote."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from churnops.cli import main
from churnops.decision.in_force import set_policy
from churnops.decision.policy import DecisionPolicy
from churnops.project import Project
from churnops.settings import load_settings
from tests.support.fixture_project import PROJECTS, copy_project

POLICY = DecisionPolicy(budget=40.0, cost=10.0, value="total_day_minutes", success_rate=0.5, currency="EUR")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = copy_project(tmp_path / "project", PROJECTS[-1])
    with Project.open(load_settings(folder / "config.yaml")) as project:
        set_policy(project.policies, POLICY, by="ann", reason="test")
    return folder


def call(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(root / "config.yaml"), *arguments])


def made(root: Path, *arguments: str) -> dict[str, Any]:
    result = call(root, "call-list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.output)
    return document


def test_the_commands_make_show_and_export_a_list(root: Path, tmp_path: Path):
    first = made(root, "--name", "Week 1")
    assert first["new"]
    assert first["head"]["customers"] == len(first["customers"]) == 4
    assert first["head"]["cost"] == 40.0
    profits = [row["expected_profit"] for row in first["customers"]]
    assert profits == sorted(profits, reverse=True)
    assert any(row["reasons"] for row in first["customers"])
    again = made(root, "--name", "Week 1")
    assert (again["new"], again["id"]) == (False, first["id"])
    second = made(root, "--contacts", "3", "--name", "Week 2 of a campaign with a long name")
    assert second["head"]["left_out"]["listed"] == 4
    assert {row["customer_id"] for row in second["customers"]}.isdisjoint(
        row["customer_id"] for row in first["customers"]
    )
    shown = call(root, "call-lists").output
    assert "Week 1" in shown
    assert "Week 2" in shown
    assert "…" not in shown
    out = tmp_path / "list.csv"
    assert "call these 4" in call(root, "call-lists", str(first["id"]), "--out", str(out)).output
    assert pl.read_csv(out).height == 4
    assert "is not in the range" in call(root, "call-lists", "9" * 20).output
    assert "exists: give another name" in call(root, "call-lists", "1", "--out", str(out)).output
    rebuilt = json.loads(call(root, "journal", "newest", "--rebuild", "--json").output)
    assert rebuilt["customers"] == first["head"]["scored"]


def test_a_list_of_a_file_has_the_files_customers(root: Path, tmp_path: Path):
    table = pl.read_csv(next((root / "data/production").glob("*.csv")))
    path = tmp_path / "customers.csv"
    refused = call(root, "call-list", "--from", str(next((root / "data/production").glob("*.csv"))))
    assert "the customers' ids is missing" in refused.output
    table.with_columns(pl.int_range(table.height).cast(pl.String).alias("customer_id")).write_csv(path)
    document = made(root, "--from", str(path), "--contacts", "5")
    assert document["head"]["source"] == "customers.csv"
    assert document["head"]["scored"] == table.height
    assert len(document["customers"]) == 5
    assert all(row["reasons"] for row in document["customers"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--where", "state"), "is not COLUMN=LEVEL"),
        (("--where", "stat=OH"), "did you mean 'state'?"),
        (("--budget", "5", "--contacts", "5"), "not both"),
        (("--contacts", "0"), "greater than or equal to 1"),
        (("--name", "a\nb"), "name: must have no control characters"),
        (("--out", "missing/list.csv"), "there is no folder missing"),
        (("--from", "missing.csv"), "missing.csv"),
    ],
)
def test_wrong_options_are_refused_in_one_line(root: Path, arguments: tuple[str, ...], message: str):
    result = call(root, "call-list", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
