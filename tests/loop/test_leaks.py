"""A column that is the outcome in another form: the run warns, trains, and deploys only with --accept-leak."""

import json
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest

from churnops.errors import DataError
from churnops.evaluation import held_out
from churnops.model import Bundle
from churnops.pipelines import release
from churnops.pipelines.promote import promote
from churnops.pipelines.run_all import RunSummary, run_all
from churnops.settings import Settings, load_settings
from tests.support.processes import CHURNOPS, run

CONFIG = """
training: {folds: 3, families: [logistic_regression], trials: {logistic_regression: 1}}
evaluation: {bootstrap_replicates: 100}
data: {raw: [raw.csv], production: []}
schema:
  columns:
    - {name: tenure, alias: Tenure, kind: number}
    - {name: status, alias: Account status, kind: category, choices: [active, closed, ended]}
    - {name: left, alias: Left, kind: target, choices: ["no", "yes"]}
features:
  derived: [{name: open_for_long, expression: 'status == "active" and tenure > 30'}]
"""


def write_table(folder: Path) -> None:
    random = np.random.default_rng(1)
    tenure = random.uniform(0, 60, 400)
    left = random.random(400) < 1 / (1 + np.exp(tenure / 10 - 2))
    status = np.where(left, random.choice(["closed", "ended"], 400), "active")
    table = {"Tenure": tenure, "Account status": status, "Left": np.where(left, "yes", "no")}
    pl.DataFrame(table).write_csv(folder / "raw.csv")
    (folder / "config.yaml").write_text(CONFIG)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, RunSummary]:
    folder = tmp_path_factory.mktemp("leak")
    write_table(folder)
    settings = load_settings(folder / "config.yaml")
    return settings, run_all(settings, deploy=True)


def test_a_model_with_a_leak_is_trained_but_not_deployed(refused: tuple[Settings, RunSummary]):
    settings, summary = refused
    assert summary.deployed.status == "challenger"
    assert summary.deployed.headline.endswith("as challenger, no model is deployed")
    assert summary.deployed.reason == (
        "status ('Account status') has one outcome only for each of its values: remove the column from the schema, or "
        "accept the leak with `churnops run --accept-leak status` or `churnops promote 1 --reason TEXT --accept-leak "
        "status`"
    )
    assert summary.deployed.warning is None
    assert not (settings.path("models") / "production").exists()


def test_the_score_is_reported_with_and_without_the_suspects(refused: tuple[Settings, RunSummary]):
    settings, summary = refused
    document = summary.to_json()
    [suspect] = document["suspected_leaks"]
    assert (suspect["name"], suspect["leaks"]) == ("status", True)
    assert document["production"] is None
    without = document["without_suspects"]
    assert 0.6 < without["roc_auc"] < 0.95 < summary.metrics["roc_auc"]
    assert without["log_loss"] > summary.metrics["log_loss"]
    assert f"and {without['roc_auc']:.4f}" in summary.evaluated.leak_warning
    mlflow.set_tracking_uri(settings.database_url(settings.tracking.uri))
    assert mlflow.get_run(summary.run_id).data.metrics["without_suspects_roc_auc"] == without["roc_auc"]


def test_an_accepted_leak_is_deployed_and_stays_accepted(refused: tuple[Settings, RunSummary]):
    settings, _ = refused
    kept = promote(settings, 1, "a try", force=True)
    assert (kept.status, kept.folder, list(kept.unaccepted_leaks)) == ("refused", None, ["status"])
    with pytest.raises(DataError, match="'stats' is no input of the model; did you mean 'status'"):
        promote(settings, 1, "a try", accept_leak=["stats"])
    assert promote(settings, 1, "known", accept_leak=["Account status"]).status == "deployed"
    assert Bundle.load(settings.path("models") / "production").lineage["accepted_leaks"] == ["status"]
    changed = settings.model_copy(update={"random_state": 7})
    later = run_all(changed, deploy=True)
    assert (later.deployed.status, later.deployed.version) == ("deployed", 2)
    assert Bundle.load(settings.path("models") / "production").lineage["accepted_leaks"] == ["status"]


def test_the_command_accepts_a_leak_by_its_header(tmp_path: Path):
    write_table(tmp_path)
    wrong = run(CHURNOPS, "run", "--accept-leak", "stats", cwd=tmp_path, code=2).stderr
    assert wrong.splitlines()[-1].startswith("error: 'stats' is no input of the model; did you mean 'status'")
    document = json.loads(run(CHURNOPS, "run", "--json", "--accept-leak", "Account status", cwd=tmp_path).stdout)
    assert (document["status"], document["unaccepted_leaks"]) == ("deployed", [])


def test_a_version_registered_before_its_leak_was_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Earlier versions of churnops recorded no leaks. A later run with the same content adds them to the version."""
    write_table(tmp_path)
    settings = load_settings(tmp_path / "config.yaml")
    with monkeypatch.context() as earlier:
        earlier.setattr(held_out, "suspected_columns", lambda *_: [])
        assert run_all(settings).deployed.status == "deployed"
    (settings.path("models") / "production").unlink()
    assert run_all(settings).deployed.version == 1
    kept = promote(settings, 1, "a try", force=True)
    assert (kept.status, list(kept.unaccepted_leaks)) == ("refused", ["status"])


def test_a_leak_deployed_earlier_can_be_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Earlier versions only warned. The same content is deployed again, so that later models know the acceptance."""
    write_table(tmp_path)
    settings = load_settings(tmp_path / "config.yaml")
    with monkeypatch.context() as earlier:
        earlier.setattr(release, "unaccepted_leaks", lambda lineage, accepted: [])
        assert run_all(settings).deployed.status == "deployed"
    assert run_all(settings).deployed.status == "unchanged"
    accepted = run_all(settings, accept_leak=["status"])
    assert accepted.deployed.status == "deployed"
    assert Bundle.load(settings.path("models") / "production").lineage["accepted_leaks"] == ["status"]
    assert run_all(settings, accept_leak=["status"]).deployed.status == "unchanged"
