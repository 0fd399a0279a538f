"""Requests that name a customer only: answered with the stored columns as if they had been sent."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from churnops.api.customers import CustomerForm
from churnops.api.problems import Problem
from churnops.cli import main
from churnops.schema import Column, Schema
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, make_key
from tests.support.projects import LATER

ANN, BOB = a_customer(customer_id="ann"), a_customer(customer_id="bob", total_day_minutes=320.0, state="XX")


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("prediction_id", "columns_at")}


@pytest.fixture
def stored(client: TestClient) -> TestClient:
    assert client.post("/features", json=[ANN, BOB]).json() == {"stored": 2, "older": 0}
    return client


def test_a_named_customer_is_answered_like_the_columns(stored: TestClient):
    for customer in (ANN, BOB):
        full = stored.post("/predict", json=customer).json()
        named = stored.post("/predict", json={"customer_id": customer["customer_id"]}).json()
        assert without_ids(named) == without_ids(full)
        assert "columns_at" not in full
        assert named["columns_at"].endswith("Z")
        kept = [stored.get(f"/predictions/{answer['prediction_id']}").json() for answer in (full, named)]
        assert kept[0]["inputs"] == kept[1]["inputs"]
        assert kept[0]["customer_id"] == kept[1]["customer_id"] == customer["customer_id"]


def test_a_list_may_name_customers_beside_full_ones(stored: TestClient):
    mixed = [{"customer_id": "bob"}, ANN, {"customer_id": "ann"}, a_customer(customer_id="new")]
    full = stored.post("/predict/batch", json=[BOB, ANN, ANN, mixed[3]]).json()
    answers = stored.post("/predict/batch", json=mixed).json()
    assert [without_ids(answer) for answer in answers] == [without_ids(answer) for answer in full]
    assert ["columns_at" in answer for answer in answers] == [True, False, True, False]


def test_an_unknown_customer_is_not_found(stored: TestClient):
    problem = assert_problem(stored.post("/predict", json={"customer_id": "nobody"}), 404)
    assert problem["type"] == "urn:churnops:problem:unknown-customer"
    assert "store them" in problem["detail"]
    problem = assert_problem(stored.post("/predict/batch", json=[{"customer_id": "ann"}, {"customer_id": "no"}]), 404)
    assert problem["detail"].startswith("row 2: ")
    assert problem["errors"][0]["row"] == 2


@pytest.mark.parametrize("body", [{"customer_id": None}, {"customer_id": " "}, {"customer_id": 5}, {}, {"state": "KS"}])
def test_anything_else_is_refused_as_before(stored: TestClient, body: dict[str, Any]):
    assert_problem(stored.post("/predict", json=body), 422)
    assert_problem(stored.post("/predict/batch", json=[body]), 422)
    assert_problem(stored.post("/predict/probe", json=[{"customer_id": "ann"}]), 422)


def test_columns_without_an_id_are_refused(client: TestClient):
    problem = assert_problem(client.post("/features", json=[ANN, a_customer(customer_id=None)]), 422)
    assert problem["detail"] == "row 2: customer_id is needed: columns are stored for a customer"
    assert_problem(client.post("/predict", json={"customer_id": "ann"}), 404)


def test_columns_that_do_not_fit_a_newer_model_are_named(stored: TestClient, monkeypatch: pytest.MonkeyPatch):
    from churnops.journal.online_rows import OnlineRow

    record = OnlineRow.record.fget  # type: ignore[attr-defined]
    lacking = property(lambda row: {k: v for k, v in record(row).items() if k != "total_day_minutes"})
    monkeypatch.setattr(OnlineRow, "record", lacking)
    problem = assert_problem(stored.post("/predict", json={"customer_id": "ann"}), 422)
    assert "the stored columns do not fit the model: total_day_minutes" in problem["detail"]


def test_a_personal_input_is_never_stored(make_settings: Callable[..., Settings]):
    """The columns are refused; the deployed model's Schema decides."""
    settings = make_settings()
    with client_of(settings) as client:
        served = client.app.state.service.model.current  # type: ignore[attr-defined]
        column = served.bundle.schema.by_name["account_length"]
        served.bundle.schema.__dict__["model_inputs"] = (column.model_copy(update={"personal": True}),)
        problem = assert_problem(client.post("/features", json=[ANN]), 422)
    assert "account_length ('Account length') is personal and an input of the model" in problem["detail"]


def test_a_file_is_stored_by_the_command_and_scored_by_id(api_settings: Settings):
    lines = LATER.read_text().splitlines()[:31]
    rows = [f"customer_id,{lines[0]}", *(f"C-{number},{line}" for number, line in enumerate(lines[1:]))]
    path = api_settings.root / "newest.csv"
    path.write_text("\n".join(rows) + "\n")
    arguments = ["--config", str(api_settings.root / "config.yaml"), "features", "upload", str(path)]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "Stored the columns of 30 customers"), done.output
    with client_of(api_settings) as client:
        scored = client.post("/predict/batch", content=path.read_bytes(), headers={"content-type": "text/csv"}).text
        answers = client.post("/predict/batch", json=[{"customer_id": f"C-{number}"} for number in range(30)]).json()
    assert all(f",{answer['churn_probability']}," in scored for answer in answers)


def test_storing_needs_its_own_scope(api_settings: Settings):
    key, other = make_key(api_settings, "features"), make_key(api_settings, "predict", name="other")
    with client_of(api_settings) as client:
        assert client.post("/features", json=[ANN], headers={"x-api-key": key}).status_code == 200
        assert_problem(client.post("/features", json=[ANN], headers={"x-api-key": other}), 403)
        assert_problem(client.post("/predict", json={"customer_id": "ann"}, headers={"x-api-key": key}), 403)


def test_an_id_in_the_wrong_field_is_answered_with_the_right_one():
    named = Column(name="contract", alias="Contract no.", kind="id", required=False)
    columns = (named, Column(name="bill", kind="number"), Column(name="churn", kind="target", choices=("no", "yes")))
    with pytest.raises(Problem, match=r"the customer's id is contract \('Contract no.'\)"):
        CustomerForm(Schema(columns=columns)).read({"customer_id": "C-1"})
