"""A number that contradicts the number that determines it is reported beside the customer's answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from churnops.model import Bundle
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of
from tests.support.own_table import own_service
from tests.support.projects import LATER
from tests.support.uploads import CSV, KINDS, NDJSON, from_file, send, to_file

WARNING = (
    "total_day_charge ('Total day charge') contradicts total_day_minutes ('Total day minutes'): expected {}, as in the "
    "training data"
)
OLD = """
schema:
  columns:
    - {name: prediction_warnings, kind: category, choices: [none, some]}
    - {name: spend, kind: number}
    - {name: left, kind: target, choices: ["no", "yes"]}
"""


def test_a_charge_that_contradicts_the_minutes_is_reported(client: TestClient, customer: dict[str, Any]):
    fits = client.post("/predict", json=customer).json()
    contradicts = client.post("/predict", json=customer | {"total_day_charge": 9.5}).json()
    assert "warnings" not in fits
    assert contradicts["warnings"] == [WARNING.format("45.07")]
    assert contradicts["churn_probability"] == fits["churn_probability"]


def test_minutes_between_those_of_the_training_data_have_a_range(client: TestClient):
    between = a_customer(total_day_minutes=265.125, total_day_charge=9.5)
    (line,) = client.post("/predict", json=between).json()["warnings"]
    low, high = map(float, line.partition("expected ")[2].partition(",")[0].split(" to "))
    assert low < 45.07125 < high < low + 1.0
    assert line == WARNING.format(f"{low:.6g} to {high:.6g}")


@pytest.mark.parametrize("minutes", [0.0, 1440.0])
def test_minutes_beyond_the_training_data_have_one_bound(client: TestClient, minutes: float):
    def warned(charge: float) -> bool:
        customer = a_customer(total_day_minutes=minutes, total_day_charge=charge)
        return "warnings" in client.post("/predict", json=customer).json()

    assert not warned(round(0.17 * minutes, 2))
    assert warned(30.0)


def test_a_missing_charge_contradicts_nothing(client: TestClient, customer: dict[str, Any]):
    for charge in ({"total_day_charge": None}, {}):
        without = {name: value for name, value in customer.items() if name != "total_day_charge"} | charge
        assert "warnings" not in client.post("/predict", json=without).json()


def test_lists_probes_and_lines_report_each_customer(client: TestClient):
    customers = [a_customer(customer_id=f"C-{n}", total_day_charge=charge) for n, charge in enumerate((45.07, 9.5))]
    lines = "".join(json.dumps(customer) + "\n" for customer in customers)
    upload = client.post("/predict/batch", content=lines, headers={"content-type": "application/x-ndjson"})
    answers = [
        client.post("/predict/batch", json=customers).json(),
        client.post("/predict/probe", json=customers).json(),
        [json.loads(line) for line in upload.text.splitlines()],
    ]
    for one, other in answers:
        assert "warnings" not in one
        assert len(other["warnings"]) == 1


@KINDS
def test_a_table_has_a_column_of_warnings_if_it_is_requested(
    client: TestClient, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("churnops.api.uploads.tables.ROWS", 2)
    charges = (45.07, 45.07, 9.5, 45.07, None)
    given = [a_customer(customer_id=f"C-{n}", total_day_charge=charge) for n, charge in enumerate(charges)]
    content = to_file(kind, given)
    plain = send(client, kind, content)
    asked = client.post("/predict/batch?warnings=true", content=content, headers={"content-type": kind})
    name = "warnings" if kind == NDJSON else "prediction_warnings"
    if kind == CSV:
        cells = pl.read_csv(asked.content).get_column(name).to_list()
        rows = [json.loads(cell) if cell else None for cell in cells]
    else:
        rows = [row.get(name) for row in from_file(kind, asked.content)]
    assert rows == [None, None, [WARNING.format("45.07")], None, None]
    if kind != NDJSON:
        assert name.encode() not in plain.content
        again = send(client, kind, asked.content)
        assert name in again.headers["x-replaced-columns"]
        assert name.encode() not in again.content


@pytest.mark.parametrize("value", ["yes", "", "True", "true&warnings=1"])
def test_another_value_of_the_parameter_is_refused(client: TestClient, value: str):
    content = to_file(CSV, [a_customer()])
    headers = {"content-type": CSV}
    problem = assert_problem(client.post(f"/predict/batch?warnings={value}", content=content, headers=headers), 422)
    assert problem["detail"] == "the parameter warnings must be true or false"


def test_no_customer_of_the_later_table_is_reported(client: TestClient, bundle: Bundle):
    """Their charges follow from the minutes, also for minutes that the training data lack."""
    table = pl.read_csv(LATER, infer_schema_length=0)
    names = bundle.schema.rename(table.columns)
    numeric = {header: pl.Float64 for header, name in names.items() if bundle.schema.by_name[name].numeric}
    rows = table.select(*names).drop("Churn").cast(numeric).to_dicts()  # type: ignore[arg-type]
    answers = client.post("/predict/batch", json=rows).json()
    assert len(answers) == len(rows) > 1000
    assert [answer["warnings"] for answer in answers if "warnings" in answer] == []


def test_a_table_without_determined_columns_has_no_warnings(
    make_settings: Callable[..., Settings], customer: dict[str, Any]
):
    with client_of(make_settings()) as client:
        served = client.app.state.service.model.current  # type: ignore[attr-defined]
        object.__setattr__(served.bundle, "linked", {})
        vars(served).pop("contradictions")
        answer = client.post("/predict", json=customer | {"total_day_charge": 9.5}).json()
    assert "warnings" not in answer


def test_a_model_with_an_input_of_the_name_of_the_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Earlier versions did not reserve this name, and no deployed model is refused for its age."""
    rng = np.random.default_rng(2)
    warnings, spend = rng.choice(["none", "some"], 300), rng.normal(50.0, 10.0, 300).round(2)
    left = np.where(rng.random(300) < 0.2 + 0.4 * (warnings == "some"), "yes", "no")
    table = pl.DataFrame({"prediction_warnings": warnings, "spend": spend, "left": left})
    with monkeypatch.context() as earlier:
        earlier.setattr("churnops.settings.columns.WARNINGS", "not reserved yet")
        settings = own_service(tmp_path, OLD, table)
    with client_of(settings) as client:
        content, headers = table.drop("left").write_csv(), {"content-type": CSV}
        answer = client.post("/predict/batch", content=content, headers=headers)
        refused = client.post("/predict/batch?warnings=true", content=content, headers=headers)
    assert answer.status_code == 200
    assert "x-replaced-columns" not in answer.headers
    assert pl.read_csv(answer.content).get_column("prediction_warnings").to_list() == warnings.tolist()
    assert "the model's table has a column prediction_warnings" in assert_problem(refused, 422)["detail"]
