"""`churnops decision`: set, shown, kept with person and reason, taken back, and in force for files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from churnops.cli import main
from churnops.evaluation.labelled_scores import LABELLED_SCORES, LabelledScores
from churnops.project import Project
from churnops.registry.reference import save_reference
from churnops.settings import load_settings
from churnops.training.train import TrainedModels
from tests.support.projects import LATER, write_project

Decision = Callable[..., Any]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, trained: TrainedModels) -> Path:
    """A project with a deployed model."""
    folder = tmp_path_factory.mktemp("decisions")
    write_project(folder)
    scores = LabelledScores.of([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8]).to_json()
    bundle = trained.refit.with_metadata(metrics={LABELLED_SCORES: scores}, lineage={})
    bundle.save(folder / "models/versions/a")
    (folder / "models/production").symlink_to("versions/a")
    save_reference(folder / "models", bundle.content_sha256, trained.reference)
    pl.read_csv(LATER).head(50).write_csv(folder / "later.csv")
    return folder


@pytest.fixture
def decision(here: Path) -> Decision:
    """Run a command of the policy, and return its JSON document, or the message of its error."""
    for file in here.glob("journal.db*"):
        file.unlink()

    def run(*words: str, code: int = 0) -> Any:
        result = CliRunner().invoke(main, ["--config", str(here / "config.yaml"), "decision", *words, "--json"])
        assert result.exit_code == code, result.output
        document = json.loads(result.stdout)
        return document["error"] if code else document

    return run


def test_a_policy_is_set_shown_and_taken_back(decision: Decision, here: Path):
    assert decision("show")["version"] == 0
    assert not (here / "journal.db").exists()
    first = decision(
        "set", "--threshold", "0.2", "--cost", "10", "--value", "200", "--success-rate", "0.25", "--why", "a"
    )
    assert (first["version"], first["threshold_in_force"], first["break_even"]) == (1, 0.2, 0.2)
    assert first["evaluated"] == {"tn": 1, "fp": 1, "fn": 0, "tp": 2}
    second = decision("set", "--contacts", "120", "--why", "b")
    assert (second["rule"], second["limit"], second["cost"]) == ("contacts", 120, 10.0)
    third = decision("set", "--budget", "99", "--threshold", "own", "--why", "c")
    assert (third["contacts"], third["limit"], third["threshold"]) == (None, 9, None)
    assert third["threshold_in_force"] == third["own_threshold"]
    assert decision("revert", "--why", "d")["limit"] == 120
    assert decision("revert", "--to", "0", "--why", "e")["cost"] is None
    assert "there is no version" in decision("revert", "--to", "9" * 20, "--why", "f", code=2)
    history = decision("history")
    assert [entry["version"] for entry in history] == [5, 4, 3, 2, 1]
    assert history[1]["reason"] == "back to version 2: d"
    assert all(entry["by"] for entry in history)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["set", "--why", "x"], "Give an option to change"),
        (["set", "--threshold", "2", "--why", "x"], "threshold: must be less than 1"),
        (["set", "--value", "state", "--why", "x"], "'state' is not a number column of the customer table; allowed: "),
        (["set", "--budget", "5", "--why", "x"], "a budget needs the cost"),
        (["set", "--cost", "5", "--why", " "], "the reason is empty"),
        (["revert", "--why", "x"], "nobody has set a decision policy"),
        (["choose"], "expected profit needs cost and value and success_rate"),
        (["choose", "--cost", "1", "--value", "9", "--success-rate", "1"], "are too few"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(decision: Decision, words: list[str], message: str):
    assert message in decision(*words, code=2)
    assert decision("history") == []


def test_files_follow_the_policy_and_name_its_version(decision: Decision, here: Path, tmp_path: Path):
    def scored(name: str) -> pl.DataFrame:
        out = tmp_path / name
        words = ["--config", str(here / "config.yaml"), "predict", str(here / "later.csv"), str(out), "--json"]
        document = json.loads(CliRunner().invoke(main, words).stdout)
        assert document.get("decision_version") == (1 if name == "after.csv" else None)
        return pl.read_csv(out)

    before = scored("before.csv")
    assert "decision_version" not in before.columns
    decision("set", "--threshold", "0.000001", "--why", "everybody")
    after = scored("after.csv")
    assert after["churn_prediction"].all()
    assert not before["churn_prediction"].all()
    assert after["decision_version"].unique().to_list() == [1]
    assert after["churn_probability"].equals(before["churn_probability"])
    with Project.open(load_settings(here / "config.yaml")) as project:
        bundle = project.require_deployed()
        assert (bundle.threshold, bundle.decision_version) == (1e-6, 1)


def test_choosing_shows_profits_with_intervals(decision: Decision):
    offer = ["--cost", "10", "--value", "200", "--success-rate", "0.25"]
    result = decision("choose", "--from", "training", "--by", "international_plan", *offer)
    assert result["in_force"]["low"] <= result["in_force"]["profit"] <= result["in_force"]["high"]
    assert result["best"]["profit"] >= result["in_force"]["profit"]
    assert result["gain"]["value"] <= result["best"]["profit"] - result["in_force"]["profit"]
    assert [profit["name"] for profit in result["segments"]] == ["No", "Yes"]
    assert sum(profit["profit"] for profit in result["segments"]) == pytest.approx(result["in_force"]["profit"])
    assert result["budgets"][-1]["contacts"] == result["in_force"]["customers"]
    limited = decision("choose", "--from", "training", "--budget", "70", *offer)
    assert limited["in_force"]["contacts"] == 7
    by_column = decision("choose", "--from", "training", "--value", "total_day_charge", *offer[:2], *offer[4:])
    assert by_column["policy"]["value"] == "total_day_charge"
    assert decision("history") == []
