"""`churnops compare A B`: both versions on the same customers, by the statistics of the gate."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

import churnops
from churnops.cli import main
from churnops.project import Project
from churnops.settings import Settings, load_settings
from tests.support.deployments import opened_registry
from tests.support.fixture_project import PROJECTS, copy_project


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project with versions 1 to 3."""
    return load_settings(copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml")


@pytest.fixture
def typed(settings: Settings) -> Callable[..., Result]:
    def run(*command: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["--config", str(settings.path("config.yaml")), "compare", *command])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def table(settings: Settings) -> Path:
    """100 customers on whom both models were trained, and 300 others."""
    customers = pl.read_csv(settings.path("data/raw/churn-80.csv"))
    others = customers[100:400].with_columns(pl.col("Account length") + 1)
    path = settings.path("labelled.csv")
    pl.concat([customers[:100], others]).write_csv(path)
    return path


def test_two_versions_are_compared_as_the_gate_compares_them(
    settings: Settings, typed: Callable[..., Result], table: Path
):
    with Project.open(settings) as project:
        before = project.decisions.newest(100)
    one: dict[str, Any] = json.loads(typed("1", "2", str(table), "--json").stdout)
    assert one["rows"] == 300
    assert (one["champion"]["version"], one["challenger"]["version"]) == (1, 2)
    with opened_registry(settings) as registry:
        bundles = [registry.bundle(version) for version in (1, 2)]
    models = [churnops.Model(bundle) for bundle in bundles]
    assert one["gate"] == json.loads(json.dumps(churnops.compare(*models, table, config=settings.root).to_json()))

    assert set(one["metrics"]) == {"roc_auc", "average_precision", "log_loss"}
    other = json.loads(typed("2", "1", str(table), "--json").stdout)
    for name, gain in one["metrics"].items():
        assert gain["low"] < gain["gain"] < gain["high"], name
        assert other["metrics"][name]["gain"] == pytest.approx(-gain["gain"])
    shown = typed("1", "2", str(table)).stdout
    assert "300 customers that neither was trained on" in shown
    assert "If A were deployed, the gate's verdict on B would be: " in shown
    with Project.open(settings) as project:
        assert project.decisions.newest(100) == before


def test_versions_without_common_new_customers_cannot_be_told_apart(settings: Settings, typed: Callable[..., Result]):
    shown = typed("2", "3").stdout
    assert "cannot tell (no customer with a known outcome is new to both models)" in " ".join(shown.split())
    (settings.models / "trained_on").rename(settings.models / "elsewhere")
    assert "the training rows of" in " ".join(typed("1", "2").stdout.split())


def test_a_wrong_pair_is_refused_in_one_line(typed: Callable[..., Result]):
    assert typed("2", "2", code=2).stderr.endswith("error: version 2 is compared with itself: give two versions\n")
    assert "version 9 is not registered; the newest are 3, 2, 1" in typed("1", "9", code=2).stderr
