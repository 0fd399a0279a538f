"""Personal columns: a value planted in one is found nowhere after every command, except in the given files."""

import json
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from churnops.app.predict.answers import BundleAnswers
from churnops.app.predict.upload import score_file
from churnops.cli import main
from churnops.data.simulate import Drift
from churnops.data.validate import ValidationError
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.pipelines import sources
from churnops.pipelines.run_all import run_all
from churnops.pipelines.run_monitoring import run_monitoring
from churnops.pipelines.simulate import simulate_file
from churnops.pipelines.trigger_retraining import trigger_retraining
from churnops.retraining.policy import RetrainingTask
from churnops.scoring.file import FileScorer
from churnops.settings import Settings, load_settings
from tests.support.api import client_of

NUMBER, DAY, LEVEL, NOTE = 98765.4321, "2031-07-19", "zebra-canary", "okapi-canary"
CANARIES = [text.encode() for text in ("98765.43", "9.877e+04", DAY, LEVEL, NOTE)]
BYTES = [struct.pack("<d", number) for number in (NUMBER, 22479.0)]  # the number, and the date in days
CONFIG = """
training: {recipe: general, folds: 2, families: [xgboost, logistic_regression]}
retraining: {families: [logistic_regression]}
evaluation: {bootstrap_replicates: 100}
data: {raw: [data/raw.csv], production: [data/later.csv]}
schema:
  columns:
    - {name: customer, kind: id, required: false}
    - {name: spend, kind: number}
    - {name: salary, alias: Salary, kind: number, personal: true}
    - {name: born, kind: date, personal: true}
    - {name: town, kind: category, personal: true, choices: [Ulm, Bonn, Kiel]}
    - {name: note, kind: category, personal: true, required: false, nullable: true, choices: [none, some]}
    - {name: churn, kind: target, choices: ["No", "Yes"]}
"""
PERSONAL = {"salary", "born", "town", "note"}
FORGOTTEN = "kea-canary"
GIVEN = {"spend": 40.0, "Salary": NUMBER, "born": DAY, "town": LEVEL, "note": NOTE}


def customers(rows: int, seed: int, *, outcome: bool = True) -> pl.DataFrame:
    """Return customers of whom the first has a canary in each personal column."""
    rng = np.random.default_rng(seed)
    spend, salary = rng.gamma(3.0, 20.0, rows), rng.normal(3000.0, 400.0, rows)
    churned = rng.random(rows) < 1.0 / (1.0 + np.exp(2.5 - spend / 40 - (salary < 2800)))
    table = pl.DataFrame(
        {
            "customer": [FORGOTTEN if row == 7 else f"{seed}-{row}" for row in range(rows)],
            "spend": spend.round(2),
            "Salary": salary.round(2),
            "born": [f"19{year}-0{month}-11" for year, month in rng.integers([50, 1], [99, 10], (rows, 2))],
            "town": rng.choice(["Ulm", "Bonn", "Kiel"], rows),
            "note": rng.choice(["none", "some"], rows),
            "churn": np.where(churned, "Yes", "No"),
        }
    )
    first = pl.int_range(pl.len()) == 0
    planted = {name: value for name, value in GIVEN.items() if name != "spend"}
    table = table.with_columns(pl.when(first).then(pl.lit(v)).otherwise(pl.col(n)).alias(n) for n, v in planted.items())
    return table if outcome else table.drop("churn")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("personal")
    (folder / "data").mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(yaml.safe_load(CONFIG)))
    customers(700, 1).write_csv(folder / "data/raw.csv")
    customers(300, 2).write_csv(folder / "data/later.csv")
    customers(200, 3, outcome=False).write_csv(folder / "data/new.csv")
    settings = load_settings(folder / "config.yaml")
    run_all(settings)
    return settings


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_answers_lack_personal_columns(done: Settings, suffix: str):
    target, messages = done.root / f"scored{suffix}", list[str]()
    scorer = FileScorer(done.path("models"), explain=True)
    scored = scorer.score(done.root / "data/new.csv", target, on_message=messages.append)
    assert messages == ["the result lacks the personal columns born, note, salary, town"]
    assert len(scored.unknown) == 2
    assert_clean(repr(scored))
    table = pl.read_csv(target) if suffix == ".csv" else pl.read_parquet(target)
    assert table.columns[:3] == ["customer", "spend", "churn_probability"]


def test_the_dashboard_ranks_answers_without_personal_columns(done: Settings):
    bundle = require_deployed(done.path("models"))
    table = customers(60, 4, outcome=False)
    gap = table.with_columns(pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise(pl.col("spend")).alias("spend"))
    answers = BundleAnswers(bundle)
    scored = score_file("new.csv", gap.write_csv().encode(), answers, answers.card(), bundle)
    assert scored.risks.height == scored.rows == 60
    assert_clean(str(scored.risks.to_dicts()))


def test_the_journal_has_null_and_a_report_does_not_watch_the_column(done: Settings):
    upload = (done.root / "data/new.csv").read_bytes()
    with client_of(done) as client:
        one = client.post("/predict", json=GIVEN | {"customer": "a"}).json()
        many = client.post("/predict/batch", json=[GIVEN | {"customer": f"b{row}"} for row in range(40)])
        file = client.post("/predict/batch?warnings=true", content=upload, headers={"content-type": "text/csv"})
        refused = client.post("/predict", json=GIVEN | {"Salary": str(NUMBER), "born": f"{DAY}x", "spend": "much"})
        kept = client.get(f"/predictions/{one['prediction_id']}").json()["inputs"]
    assert (many.status_code, file.status_code, refused.status_code) == (200, 200, 422)
    assert "Salary" not in file.text.splitlines()[0]
    assert kept == {"spend": 40.0} | dict.fromkeys(PERSONAL)
    for answer in (many, file, refused):
        assert_clean(answer.text)
    report = run_monitoring(done, sources.window()).cycle.report
    verdicts = {column.name: column for column in report.feature_drift.columns}
    assert all(verdicts[name].drifted is None and "personal" in verdicts[name].reason for name in PERSONAL)
    assert verdicts["spend"].drifted is not None
    assert not any(PERSONAL & set(caution.columns) for caution in report.cautions)
    assert report.training_rows is None


def test_a_file_is_watched_in_every_column(done: Settings):
    cycle = run_monitoring(done, sources.file(done.root / "data/later.csv")).cycle
    verdicts = {column.name: column for column in cycle.report.feature_drift.columns}
    assert all(verdicts[name].drifted is not None for name in PERSONAL - {"born"})  # a date only by its gaps
    assert pl.read_csv(cycle.path.parent / f"production_batch_{cycle.report.name}.csv").columns == ["spend", "churn"]


def test_a_retraining_needs_a_file(done: Settings):
    refused, _ = trigger_retraining(done, RetrainingTask("by hand"))
    assert refused.status == "not permitted"
    assert "personal model inputs salary ('Salary'), born, town: give a file" in refused.reason
    file = done.root / "data/more.csv"
    customers(600, 7).write_csv(file)
    retrained, _ = trigger_retraining(done, RetrainingTask("by hand", batch=file))
    assert retrained.status in ("deployed", "kept", "cannot tell")


def test_messages_on_broken_cells_do_not_quote_them(done: Settings):
    wrong = pl.lit(f"{NUMBER} canary").alias("Salary"), pl.lit(f"{DAY} canary").alias("born")
    customers(50, 8, outcome=False).with_columns(wrong).write_csv(done.root / "data/wrong.csv")
    with pytest.raises(ValidationError) as error:
        FileScorer(done.path("models")).score(done.root / "data/wrong.csv", done.root / "never.csv")
    assert "column salary ('Salary'): 50 values not a number (rows 1, 2," in str(error.value)
    assert_clean(str(error.value))
    assert "canary" not in str(error.value)


def test_simulated_customers_have_one_value_for_all(done: Settings):
    target = done.root / "simulated.csv"
    simulate_file([done.root / "data/raw.csv"], target, done, Drift(), rows=100, seed=1)
    assert pl.read_csv(target).get_column("Salary").n_unique() == 1
    report = run_monitoring(done, sources.file(target)).cycle.report
    assert not any(PERSONAL & set(caution.columns) for caution in report.cautions)


def test_the_probes_of_a_bundle_are_nobodys(done: Settings):
    probes = Bundle.load(done.path("models") / "production").probes
    assert all(np.unique(probes[name]).size == 1 for name in PERSONAL - {"note"})


def test_a_planted_value_is_found_nowhere(done: Settings):
    """Runs late, when all commands have written. A reference profile has values, but not whose they are."""
    searched = 0
    for path, content in written(done.root):
        searched += 1
        assert not [canary for canary in CANARIES if canary in content], path
        assert path.name == "reference.npz" or not [number for number in BYTES if number in content], path
    assert searched > 50


def test_a_forgotten_customer_is_found_nowhere(done: Settings):
    """Runs last. The given tables lose the customer's row too; all other rows stay."""
    with client_of(done) as client:
        assert client.post("/predict", json=GIVEN | {"customer": FORGOTTEN, "Salary": 1.0}).status_code == 200
        label = {"customer_id": FORGOTTEN, "churned": True, "outcome_at": "2026-01-01T00:00:00Z"}
        assert client.post("/labels", json=[label]).status_code == 200
    before = {path: path.read_bytes() for path in done.root.rglob("*") if path.is_file()}
    counted = forgotten(done)
    assert counted["receipt"] is None
    assert all(path.read_bytes() == content for path, content in before.items() if "journal.db" not in path.name)

    receipt = forgotten(done, "--yes")
    assert {name: receipt[name] for name in ("tables", "files", "models")} == {
        name: counted[name] for name in ("tables", "files", "models")
    }
    assert receipt["tables"]["labels"] == 1
    assert receipt["tables"]["predictions"] >= 1
    assert {"data/raw.csv", "data/later.csv", "data/new.csv"} <= receipt["files"].keys()
    assert receipt["models"] >= 1
    assert receipt["customer_sha256"] == sha256(FORGOTTEN.encode()).hexdigest()
    for path in (path for path in done.root.rglob("*") if path.is_file()):
        assert FORGOTTEN.encode() not in path.read_bytes(), path
        assert path.suffix != ".parquet" or FORGOTTEN.encode() not in pl.read_parquet(path).write_ndjson().encode(), (
            path
        )
    assert pl.read_csv(done.root / "data/raw.csv").height == 699
    again = forgotten(done)
    assert (sum(again["tables"].values()), again["files"], again["models"]) == (0, {}, 0)


def forgotten(settings: Settings, *options: str) -> dict[str, Any]:
    config = str(settings.root / "config.yaml")
    done = CliRunner().invoke(main, ["--config", config, "journal", "forget", FORGOTTEN, *options, "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.parent != folder / "data":
            yield path, path.read_bytes()
            if path.suffix == ".parquet":
                yield path, pl.read_parquet(path).write_ndjson().encode()


def assert_clean(text: str) -> None:
    assert not [canary for canary in CANARIES if canary in text.encode()]
