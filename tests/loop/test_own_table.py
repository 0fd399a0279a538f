"""The user's own table: gaps, categories, id, time and target, through the whole main job."""

import json
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml

from churnops.app.monitoring.columns import column_sentence
from churnops.app.predict.form import TYPICAL, customer, fields, presets
from churnops.data.read import encode
from churnops.data.validate import check_customers
from churnops.journal.decoding import PackedInputs, decode_inputs
from churnops.model import Bundle
from churnops.monitoring.figures import column_figure
from churnops.pipelines.run_all import RunSummary, run_all
from churnops.project import Project
from churnops.scoring.file import FileScorer
from churnops.settings import Settings, load_settings
from tests.support.api import client_of

CONFIG = """
training: {folds: 3, trials: {logistic_regression: 1, decision_tree: 1, random_forest: 1, xgboost: 1}}
evaluation: {bootstrap_replicates: 100}
data: {production: []}
features:
  derived:
    - {name: spend_per_month, expression: spend / tenure, description: Spend per month}
    - {name: new_on_monthly, expression: 'contract == "monthly" and tenure < 12'}
schema:
  columns:
    - {name: customer, alias: Kunde, kind: id, required: false}
    - {name: since, alias: Since, kind: time}
    - {name: signup, alias: Signup, kind: date, format: day_first, nullable: true}
    - {name: tenure, alias: Tenure, kind: integer, minimum: 0, nullable: true}
    - {name: spend, alias: Spend (€), kind: number, minimum: 0, nullable: true}
    - name: contract
      alias: Contract
      kind: category
      choices: [monthly, "yearly, paid ahead", zwei Jahre]
      nullable: true
    - {name: support, alias: Support, kind: flag, choices: ["0", "1"], nullable: true}
    - {name: left, alias: Left, kind: target, choices: ["no", "yes"]}
"""
FIRST_DAY = date(2020, 1, 1)
Own = tuple[Settings, RunSummary, pl.DataFrame]


def customers(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    tenure = rng.integers(0, 60, rows)
    spend = rng.gamma(3, 20, rows).round(2)
    contract = rng.choice(["monthly", "yearly, paid ahead", "zwei Jahre"], rows)
    risk = (contract == "monthly") * 1.5 + (tenure < 12) * 1.2 + spend / 60 - 3
    table = pl.DataFrame(
        {
            "Kunde": [f"Ä-{i:05d}" for i in range(rows)],
            "Since": ["2026-01-15"] * rows,
            "Signup": [f"{FIRST_DAY + timedelta(days=int(days)):%d.%m.%Y}" for days in rng.integers(0, 2000, rows)],
            "Tenure": tenure,
            "Spend (€)": spend,
            "Contract": contract,
            "Support": rng.integers(0, 2, rows),
            "Left": np.where(rng.random(rows) < 1 / (1 + np.exp(-risk)), "yes", "no"),
            "Notes": ["x"] * rows,
        }
    )
    gaps = {name: rng.random(rows) < 0.1 for name in ("Signup", "Tenure", "Spend (€)", "Contract", "Support")}
    return table.with_columns(
        pl.when(pl.Series(gap)).then(None).otherwise(pl.col(name)).alias(name) for name, gap in gaps.items()
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    folder = tmp_path_factory.mktemp("own")
    table = customers(900, np.random.default_rng(5))
    (folder / "data/raw").mkdir(parents=True)
    table[:300].write_csv(folder / "data/raw/one.csv")
    table[300:500].write_csv(folder / "data/raw/two.csv")
    table[500:].with_columns(
        pl.col("Contract").cast(pl.Categorical), pl.col("Since").str.to_date(), pl.col("Signup").str.to_date("%d.%m.%Y")
    ).write_parquet(folder / "data/raw/three.parquet")
    (folder / "config.yaml").write_text(CONFIG)
    settings = load_settings(folder / "config.yaml")
    return settings, run_all(settings), table


def test_the_table_is_learned_with_its_gaps(own: Own):
    settings, summary, table = own
    assert summary.deployed.status == "deployed"
    assert summary.evaluation.metrics["roc_auc"].value > 0.6
    constants = summary.evaluated.bundle.imputer.constants
    signups = table["Signup"].str.to_date("%d.%m.%Y")
    assert constants["signup"] == (signups - date(1970, 1, 1)).dt.total_days().median()
    assert constants["tenure"] == table["Tenure"].median()
    assert constants["spend"] == pytest.approx(table["Spend (€)"].median())
    counts = dict(table["Contract"].drop_nulls().value_counts().iter_rows())
    choices = settings.table.by_name["contract"].choices
    assert counts[choices[int(constants["contract"])]] == max(counts.values())
    assert {"contract=zwei Jahre", "new_on_monthly", "spend_per_month"} <= set(summary.evaluated.bundle.selected)


def test_a_customer_with_gaps_scores_the_same_everywhere(own: Own, tmp_path: Path):
    settings, summary, table = own
    scored = encode(check_customers(table, settings.table, "all"), settings.table)
    expected = summary.evaluated.bundle.predict(scored).probability

    table.drop("Left", "Kunde").write_csv(tmp_path / "in.csv")
    table.drop("Left").write_parquet(tmp_path / "in.parquet")
    for ending in ("csv", "parquet"):
        FileScorer(settings.path("models")).score(tmp_path / f"in.{ending}", tmp_path / f"out-{ending}.parquet")
        found = pl.read_parquet(tmp_path / f"out-{ending}.parquet")["churn_probability"].to_numpy()
        np.testing.assert_array_equal(found, expected)

    mlflow.set_tracking_uri(settings.database_url(settings.tracking.uri))
    served = mlflow.pyfunc.load_model("models:/churn@production")
    rows = table.rename(settings.table.rename(table.columns)).drop("customer", "since", "left", "Notes")
    frame = pd.DataFrame(rows.with_columns(pl.col("support").cast(pl.String)).to_dict(as_series=False))
    assert frame["tenure"].isna().any()
    np.testing.assert_array_equal(served.predict(frame)["churn_probability"].to_numpy(), expected)


def test_the_api_reads_dates_and_the_journal_keeps_texts(own: Own):
    settings = own[0]
    customer = {"customer": "d", "signup": "2024-03-05", "tenure": 5, "spend": 10.0, "contract": None, "support": "1"}
    texts = {"signup": ["05.03.2024"], "Tenure": [5], "Spend (€)": [10.0], "Contract": [None], "Support": ["1"]}
    table, parquet = pl.DataFrame(texts), BytesIO()
    table.with_columns(pl.lit(datetime(2024, 3, 5)).alias("signup")).write_parquet(parquet)
    with client_of(settings) as client:
        expected = client.post("/predict", json=customer).json()["churn_probability"]
        later = client.post("/predict", json=customer | {"signup": "2024-03-05T14:00+02:00"}).json()
        for body, kind in (
            (json.dumps(customer), "application/x-ndjson"),
            (table.write_csv(), "text/csv"),
            (parquet.getvalue(), "application/vnd.apache.parquet"),
        ):
            answer = client.post("/predict/batch", content=body, headers={"content-type": kind})
            assert answer.status_code == 200, answer.text
        for wrong in ("05.03.2024", "2024-02-30", 19787, True):
            problem = client.post("/predict", json=customer | {"signup": wrong}).json()
            assert problem["detail"] == "signup ('Signup') must be an ISO 8601 date, such as 2024-03-05"
        document = client.get("/openapi.json").json()["components"]["schemas"]["Customer"]["properties"]["signup"]
        assert {"type": "string", "format": "date"} in document["anyOf"]
    with Project.open(settings) as project:
        now = datetime.now(UTC)
        recorded = [entry.row for entry in project.journal.resolved(now - timedelta(hours=1), now, now)]
    inputs = [row.record["signup"] for row in recorded]
    assert sorted(inputs) == ["2024-03-05"] * 4 + ["2024-03-05T14:00+02:00"]
    assert [row.churn_probability for row in recorded if row.id != later["prediction_id"]] == [expected] * 4
    days = decode_inputs(PackedInputs.of(recorded), settings.table)["signup"]
    assert sorted(days) == [19787.0] * 4 + [19787.5]


def test_pages_show_dates(own: Own):
    bundle = own[1].evaluated.bundle
    reference = bundle.reference["signup"]
    batch = reference.count(np.array([19787.0]))
    column = bundle.schema.by_name["signup"]
    assert "and is 2024-03-0" in column_sentence(column, reference, batch)
    assert "and is 2024-03-0" in column_figure("signup", bundle.reference, {"signup": batch}, bundle.schema)
    (field,) = (field for field in fields(bundle.schema, bundle.reference) if field.name == "signup")
    assert field.kind == "date"
    assert "Nine in ten customers: 2020-0" in field.help
    given = presets(bundle, own[0].path("models"))[TYPICAL]
    assert date.fromisoformat(given["signup"]).year >= 2020
    assert customer([field], {"signup": date(2024, 3, 5)}) == {"signup": "2024-03-05"}


def test_identifiers_stay_out_of_the_bundle_and_every_artifact(own: Own):
    settings, _, table = own
    ids = table["Kunde"].to_list()[:50]
    written = [p for folder in ("models", "mlartifacts", "monitoring") for p in (settings.root / folder).rglob("*")]
    assert len(written) > 50
    for path in written:
        if path.is_file():
            content = path.read_bytes()
            assert not any(identifier.encode() in content for identifier in ids), path
            if path.suffix == ".parquet":
                assert "customer" not in pl.read_parquet(path).columns, path


def test_the_evaluated_rows_are_the_held_out_ones(own: Own, tmp_path: Path):
    """The evaluation can be computed again from the rows it names, and no fit has used these rows."""
    settings, summary, table = own
    (path,) = (settings.root / "mlartifacts").rglob("test_data.parquet")
    held_out = pl.read_parquet(path)
    assert held_out.height == summary.evaluation.rows == pytest.approx(0.2 * table.height, abs=1)
    probability, churned = held_out["churn_probability"].to_numpy(), held_out["churned"].to_numpy() == 1.0
    assert ((probability >= 0.5) == churned).mean() == summary.evaluation.metrics["accuracy"].value
    fits = summary.evaluated.bundle.lineage["fits"]
    assert fits["evaluated"]["rows"] + held_out.height == fits["deployed"]["rows"] == table.height
    evaluated = summary.trained.models[summary.trained.winner].bundle
    columns = {name: held_out[name].to_numpy() for name in evaluated.imputer.constants}
    np.testing.assert_array_equal(evaluated.predict(columns).probability, probability)
    assert Bundle.load(settings.root / "models/production").content_sha256 == fits["deployed"]["content_sha256"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "support", "kind": "flag", "choices": [False, True]}, "put it in quotes"),
        ({"name": "support", "kind": "flag", "choises": ["0", "1"]}, "did you mean 'choices'"),
    ],
)
def test_a_declaration_that_yaml_misread_is_explained(tmp_path: Path, change: dict[str, Any], message: str):
    document = yaml.safe_load(CONFIG)
    document["schema"]["columns"][5] = change
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(Exception, match=message):
        load_settings(tmp_path / "config.yaml")
