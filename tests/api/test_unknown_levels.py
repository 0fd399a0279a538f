"""Unknown levels, other spellings, absent nullable columns and empty cells give the same score in every format."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from churnops.app.predict.answers import BundleAnswers, NotAnswered
from churnops.app.predict.form import fields
from churnops.cli import main
from churnops.data.validate import ValidationError
from churnops.errors import DataError
from churnops.journal import Journal, open_database
from churnops.model import Bundle
from churnops.model.deployed import require_deployed
from churnops.monitoring.collect import batch_from_file
from churnops.monitoring.window import batch_from_journal
from churnops.python_api.model import Model
from churnops.scoring.file import FileScorer
from churnops.scoring.unfinished import InterruptedRunError
from churnops.settings import Settings
from tests.support.api import client_of
from tests.support.own_table import own_service

CONFIG = """
schema:
  columns:
    - {name: customer, kind: id, required: false, nullable: true}
    - {name: plan, alias: Plan, kind: category, choices: [Gold, Basic, "3"]}
    - {name: city, kind: category, choices: [Kiel, Ulm], nullable: true}
    - {name: tenure, kind: integer, minimum: 0}
    - {name: left, kind: target, choices: ["no", "yes"]}
"""
CSV, NDJSON, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"
FILES = [CSV, NDJSON, PARQUET]
SENT = ["Gold", " gOLD ", "3.0", "Platin", "Silver\u00fc", "Basic"]
"""Plans as sent; the fourth and the fifth are unknown."""
Rows = Sequence[dict[str, Any]]


def customers(plans: Sequence[str], **changes: Any) -> Rows:
    return [{"plan": plan, "city": "Ulm", "tenure": 7} | changes for plan in plans]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    rng, rows = np.random.default_rng(1), 600
    plan, city = rng.choice(["Gold", "Basic", "3"], rows), rng.choice(["Kiel", "Ulm"], rows)
    leaves = rng.random(rows) < 0.2 + 0.4 * (plan == "Gold") + 0.2 * (city == "Ulm")
    table = pl.DataFrame(
        {
            "customer": [f"C-{row}" for row in range(rows)],
            "Plan": plan,
            "city": pl.Series(np.where(rng.random(rows) < 0.3, "", city)),
            "tenure": rng.integers(0, 90, rows),
            "left": np.where(leaves, "yes", "no"),
        }
    )
    return own_service(tmp_path_factory.mktemp("own"), CONFIG, table)


@pytest.fixture(scope="module")
def client(project: Settings) -> Iterator[TestClient]:
    with client_of(project) as client:
        yield client


@pytest.fixture(scope="module")
def bundle(project: Settings) -> Bundle:
    return require_deployed(project.path("models"))


def content_of(kind: str, rows: Rows) -> bytes:
    table, buffer = pl.DataFrame(list(rows)), io.BytesIO()
    if kind == NDJSON:
        return "\n".join(map(json.dumps, rows)).encode()
    table.write_csv(buffer) if kind == CSV else table.write_parquet(buffer)
    return buffer.getvalue()


def send(client: TestClient, kind: str, rows: Rows, **params: Any) -> Any:
    headers = {"content-type": kind}
    return client.post("/predict/batch", content=content_of(kind, rows), headers=headers, params=params)


def scores_of(kind: str, answer: bytes) -> list[float]:
    if kind == NDJSON:
        return [json.loads(line)["churn_probability"] for line in answer.splitlines()]
    table = pl.read_csv(answer) if kind == CSV else pl.read_parquet(io.BytesIO(answer))
    return table.get_column("churn_probability").to_list()


def by_request(client: TestClient, rows: Rows) -> list[dict[str, Any]]:
    answers = [client.post("/predict", json=row).json() for row in rows]
    listed = client.post("/predict/batch", json=rows).json()
    probes = client.post("/predict/probe", json=rows).json()
    for one, other, probe in zip(answers, listed, probes, strict=True):
        kept = {name: value for name, value in one.items() if name != "prediction_id"}
        assert kept == probe == {name: value for name, value in other.items() if name != "prediction_id"}
    return answers


def command(project: Settings, source: Path, *options: str) -> Any:
    target = source.with_name("out.csv")
    arguments = ["--config", str(project.root / "config.yaml"), "predict", str(source), str(target), "--force"]
    return CliRunner().invoke(main, [*arguments, *options], catch_exceptions=False)


def test_every_format_gives_the_same_score(client: TestClient, project: Settings, bundle: Bundle, tmp_path: Path):
    rows = customers(SENT)
    answers = by_request(client, rows)
    scores = [answer["churn_probability"] for answer in answers]
    assert [answer.get("unknown") for answer in answers] == [None, None, None, ["plan"], ["plan"], None]
    assert scores[0] == scores[1]
    assert scores[3] == scores[4]
    codes = {"plan": np.array([bundle.schema.by_name["plan"].other]), "city": np.ones(1), "tenure": np.full(1, 7.0)}
    assert scores[3] == bundle.predict(codes).probability[0]
    for kind in FILES:
        assert scores_of(kind, send(client, kind, rows).content) == scores
    for kind, ending in ((CSV, "csv"), (PARQUET, "parquet")):
        path = tmp_path / f"customers.{ending}"
        path.write_bytes(content_of(kind, rows))
        done = command(project, path, "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["unknown_levels"][0].startswith("plan ('Plan'): 2 of 6 rows (33.3%)")
        assert scores_of(CSV, path.with_name("out.csv").read_bytes()) == scores
        assert BundleAnswers(bundle).file(path, ending).table.get_column("churn_probability").to_list() == scores
        batch = batch_from_file(path, bundle)
        assert batch.probability.tolist() == scores
        assert batch.unexpected.unknown["plan"].examples == ("Platin", "Silver\u00fc")


def test_an_absent_nullable_column_is_a_missing_value(
    client: TestClient, project: Settings, bundle: Bundle, tmp_path: Path
):
    given = customers(SENT, city=None)
    absent = [{name: value for name, value in row.items() if name != "city"} for row in given]
    scores = [answer["churn_probability"] for answer in by_request(client, absent)]
    assert scores == [answer["churn_probability"] for answer in by_request(client, given)]
    assert scores != [answer["churn_probability"] for answer in by_request(client, customers(SENT))]
    for kind in FILES:
        refused = send(client, kind, absent)
        assert refused.status_code == 422
        assert [(e["field"], e["rule"]) for e in refused.json()["errors"]] == [("city", "missing column")]
        assert "accept_missing=city" in refused.json()["detail"]
        assert scores_of(kind, send(client, kind, absent, accept_missing="city").content) == scores
    path = tmp_path / "customers.csv"
    path.write_bytes(content_of(CSV, absent))
    refused = command(project, path)
    assert refused.exit_code == 2
    assert "column city: required column is missing; `--accept-missing city`" in refused.output
    assert command(project, path, "--accept-missing", "city").exit_code == 0
    assert scores_of(CSV, path.with_name("out.csv").read_bytes()) == scores
    answers = BundleAnswers(bundle)
    assert answers.file(path, "csv", lenient=True).table.get_column("churn_probability").to_list() == scores
    assert batch_from_file(path, bundle, accept_missing=["city"]).probability.tolist() == scores


@pytest.mark.parametrize("kind", [CSV, PARQUET])
def test_an_empty_cell_that_training_did_not_have_is_scored(
    client: TestClient, project: Settings, bundle: Bundle, tmp_path: Path, kind: str
):
    rows = [*customers(SENT), *customers(["Gold"], tenure=None)]
    answer = send(client, kind, rows, warnings="true")
    scores = scores_of(kind, answer.content)
    median = round(bundle.imputer.constants["tenure"])
    assert scores[-1] == by_request(client, customers(["Gold"], tenure=median))[0]["churn_probability"]
    assert "tenure is missing" in str(
        (pl.read_csv(answer.content) if kind == CSV else pl.read_parquet(io.BytesIO(answer.content))).row(-1)
    )
    ending = "csv" if kind == CSV else "parquet"
    path = tmp_path / f"customers.{ending}"
    path.write_bytes(content_of(kind, rows))
    done = command(project, path, "--json")
    sentence = "tenure: 1 of 7 rows (14.3%) have an empty cell, and no training row had one, the first is row 7"
    assert json.loads(done.stdout)["empty_cells"] == [f"{sentence}; scored without it"]
    assert scores_of(CSV, path.with_name("out.csv").read_bytes()) == scores
    assert BundleAnswers(bundle).file(path, ending).table.get_column("churn_probability").to_list() == scores
    with pytest.warns(UserWarning, match="of 7 rows") as caught:
        assert Model(bundle).predict(path).get_column("churn_probability").to_list() == scores
    assert [str(warning.message).partition(":")[0] for warning in caught] == ["plan ('Plan')", "tenure"]
    assert str(caught[1].message) == f"{sentence}; scored without it"
    assert batch_from_file(path, bundle).probability.tolist() == scores


def test_a_column_that_is_not_nullable_and_mostly_empty_is_refused(
    client: TestClient, project: Settings, bundle: Bundle, tmp_path: Path
):
    rows = [*customers(["Gold"] * 10), *customers(["Gold"] * 6, tenure=None)]
    for kind in (CSV, PARQUET):
        refused = send(client, kind, rows)
        assert [(e["field"], e["rule"], e["row"]) for e in refused.json()["errors"]] == [
            ("tenure", "missing value", 11)
        ]
        assert "accept_missing=tenure" in refused.json()["detail"]
        assert send(client, kind, rows, accept_missing="tenure").status_code == 200
    path = tmp_path / "customers.csv"
    path.write_bytes(content_of(CSV, rows))
    assert "`--accept-missing tenure`" in command(project, path).output
    assert not path.with_name("out.csv").exists()
    assert command(project, path, "--accept-missing", "tenure").exit_code == 0
    assert batch_from_file(path, bundle).rows == 16
    model, sentence = Model(bundle), "tenure: 6 of 16 rows .* the first is row 11"
    for given in (path, pl.read_csv(path), rows):
        with pytest.raises(DataError, match="tenure: "):
            model.predict(given)
        with pytest.warns(UserWarning, match=sentence):
            model.predict(given, accept_missing=["tenure"])
    without = [{name: value for name, value in row.items() if name != "tenure"} for row in rows]
    with pytest.warns(UserWarning, match="tenure: 16 of 16 rows"):
        model.explain(without, accept_missing="tenure")
    with pytest.raises(DataError, match="plan"):
        model.predict([*without, {"city": "Ulm"}], accept_missing="tenure")
    assert client.post("/predict", json=rows[-1]).status_code == 422
    assert send(client, NDJSON, rows).status_code == 422


@pytest.mark.parametrize("kind", FILES)
def test_only_inputs_may_be_accepted_as_missing(client: TestClient, kind: str):
    for name in ("left", "nothing"):
        refused = send(client, kind, customers(SENT), accept_missing=["city", name])
        assert refused.status_code == 422
        reason = f"'{name}' is no input of the model; valid names: city, plan, tenure"
        assert refused.json()["detail"] == f"accept_missing: {reason}"
    assert send(client, kind, customers(SENT), accept_unknown="maybe").status_code == 422


def test_a_line_without_a_nullable_column_is_a_customer_without_it(client: TestClient):
    lines = [*customers(["Gold"]), {"plan": "Gold", "tenure": 7}]
    assert len(scores_of(NDJSON, send(client, NDJSON, lines).content)) == 2


def many(unknown: int, rows: int = 100) -> Rows:
    return customers(["Gold"] * (rows - unknown) + ["gold plus"] * unknown)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_with_many_unknown_levels_is_refused(client: TestClient, kind: str):
    refused = send(client, kind, many(6))
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], error["rule"], error["row"]) == ("plan", "unknown levels", 95)
    assert "has the spelling changed?" in error["message"]
    assert "6 of 100 rows (6.0%)" in error["message"]
    assert "gold plus" not in refused.text
    assert send(client, kind, many(5)).status_code == 200
    assert send(client, kind, many(40, 99)).status_code == 200
    assert send(client, kind, many(6), accept_unknown="true").status_code == 200
    assert client.post("/predict/batch", json=many(100)).status_code == 200


def test_the_command_and_the_dashboard_refuse_it_too(project: Settings, bundle: Bundle, tmp_path: Path):
    path = tmp_path / "customers.csv"
    path.write_bytes(content_of(CSV, many(6)))
    refused = command(project, path)
    assert refused.exit_code == 2
    for words in ("has the spelling changed?", "--accept-unknown", "such as 'gold plus' (rows 95, …)"):
        assert words in " ".join(refused.output.split())
    assert [file.name for file in tmp_path.iterdir()] == ["customers.csv"], "no result, and no part of it"
    assert command(project, path, "--accept-unknown").exit_code == 0
    answers = BundleAnswers(bundle)
    with pytest.raises(NotAnswered) as caught:
        answers.file(path, "csv")
    assert "has the spelling changed?" in caught.value.broken[0].problem
    assert answers.file(path, "csv", lenient=True).table.height == 100


def test_unknown_levels_of_an_interrupted_run_count(project: Settings, tmp_path: Path):
    source, target = tmp_path / "customers.csv", tmp_path / "scored.csv"
    source.write_bytes(content_of(CSV, customers(["gold plus"] * 6 + ["Gold"] * 94)))

    def stop(done: int, share: float) -> None:
        if done == 50:
            raise KeyboardInterrupt

    scorer = FileScorer(project.path("models"), rows=10, workers=1)
    with pytest.raises(InterruptedRunError):
        scorer.score(source, target, on_rows=stop)
    accepting = replace(scorer, accept_unknown=True)
    with pytest.raises(InterruptedRunError):
        accepting.score(source, target, on_rows=lambda done, share: stop(done - 40, share))
    done = accepting.score(source, target)
    assert (done.resumed_rows, done.rows) == (90, 100)
    assert done.unknown[0].startswith("plan ('Plan'): 6 of 100 rows (6.0%)")


def test_levels_that_cross_validation_often_misses_refuse_no_file(bundle: Bundle, tmp_path: Path):
    assert bundle.metrics["unseen_levels"] == {"plan": 0.0, "city": 0.0}
    path = tmp_path / "customers.csv"
    path.write_bytes(content_of(CSV, many(100)))
    usual = bundle.with_metadata(metrics={"unseen_levels": {"plan": 0.02}}, lineage={})
    assert BundleAnswers(usual).file(path, "csv").table.height == 100


def test_unknown_levels_are_counted_by_column(client: TestClient):
    def count() -> float:
        metrics = client.get("/metrics").text.splitlines()
        lines = [line for line in metrics if line.startswith("churnops_unknown_levels_t")]
        assert all(line.startswith('churnops_unknown_levels_total{column="plan"} ') for line in lines)
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    before = count()
    rows = customers(SENT)
    client.post("/predict", json=rows[3])
    client.post("/predict/batch", json=rows)
    for kind in FILES:
        send(client, kind, rows)
    assert count() - before == 1 + 2 * 4


def test_a_table_lists_unknown_levels_as_warnings(client: TestClient):
    answer = send(client, CSV, customers(SENT), warnings="true").content
    line = json.dumps(["plan ('Plan') has an unknown level"])
    assert pl.read_csv(answer).get_column("prediction_warnings").to_list() == [None] * 3 + [line] * 2 + [None]


def test_the_journal_keeps_the_level_and_is_monitored(client: TestClient, project: Settings, bundle: Bundle):
    sent = [client.post("/predict", json=row).json() for row in customers([f"Plan {i % 7}" for i in range(40)])]
    stored = client.get(f"/predictions/{sent[0]['prediction_id']}").json()["inputs"]
    assert stored == {"plan": "Plan 0", "city": "Ulm", "tenure": 7}
    engine = open_database(project.database_url(project.journal.url))
    try:
        now = datetime.now(UTC)
        window = (now - timedelta(hours=1), now + timedelta(seconds=1))
        batch = batch_from_journal(Journal(engine, label_horizon=timedelta(days=30)), bundle, window, known_at=now)
    finally:
        engine.dispose()
    assert batch.rows >= 40
    assert batch.unexpected.unknown["plan"].count >= 40
    assert len(batch.unexpected.unknown["plan"].examples) == 3


def test_the_form_of_the_dashboard_has_an_unknown_level(client: TestClient, bundle: Bundle):
    plan = next(field for field in fields(bundle.schema) if field.name == "plan")
    assert plan.choices == ("Gold", "Basic", "3", "(other)")
    (answer,) = by_request(client, customers(["(other)"]))
    assert answer["unknown"] == ["plan"]
    assert BundleAnswers(bundle).one(customers(["(other)"])[0]).probability == answer["churn_probability"]


def test_the_library_gives_the_same_scores(client: TestClient, bundle: Bundle, tmp_path: Path):
    model, path = Model(bundle), tmp_path / "customers.csv"
    for rows in (customers(SENT), [{"plan": plan, "tenure": 7} for plan in SENT]):
        scores = [answer["churn_probability"] for answer in by_request(client, rows)]
        with pytest.warns(UserWarning, match="'Platin', 'Silver\u00fc'; coded as other"):
            assert [answer["churn_probability"] for answer in model.predict(rows)] == scores
    with pytest.warns(UserWarning, match="100 of 100 rows"):
        assert model.predict(pl.DataFrame(many(100))).height == 100
    path.write_bytes(content_of(CSV, many(6)))
    with pytest.raises(ValidationError, match="has the spelling changed"):
        model.predict(path)


def test_mlflow_serves_the_same_scores(client: TestClient, bundle: Bundle):
    import pandas as pd

    from churnops.tracking.served_model import BundleModel

    model = BundleModel()
    model.bundle = bundle
    for rows in (customers(SENT), [{"plan": plan, "tenure": 7} for plan in SENT]):
        scored = model.predict(None, pd.DataFrame(rows))
        answers = by_request(client, rows)
        assert scored["churn_probability"].tolist() == [answer["churn_probability"] for answer in answers]
        assert scored["unknown"].tolist() == [answer.get("unknown", []) for answer in answers]
    assert "unknown" not in model.predict(None, pd.DataFrame(customers(["Gold"])))
