"""`POST /predict`: valid inputs, the answer, and its record in the journal."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from churnops.api.customers import CustomerForm
from churnops.api.main import create_app
from churnops.api.problems import Problem
from churnops.model import Bundle, LinearModel
from churnops.schema import Column, Schema
from churnops.settings import Settings
from tests.support.api import LOCAL, a_customer, client_of
from tests.support.processes import PATIENCE

RAW_HEADERS = {"Account length": "account_length", "Total day minutes": "total_day_minutes", "State": "state"}


def test_the_answer_is_the_bundles(client: TestClient, bundle: Bundle, customer: dict[str, Any]):
    response = client.post("/predict", json=customer)
    assert response.status_code == 200
    answer = response.json()
    explanation = bundle.explain(CustomerForm(bundle.schema).encode([customer]))
    assert answer["churn_probability"] == explanation.prediction.probability[0]
    assert answer["churn_prediction"] is bool(explanation.prediction.churn[0])
    assert answer["base_value"] == explanation.base_value
    assert answer["explanation_scale"] == bundle.explanation_scale
    assert answer["model_version"] == bundle.version_name
    expected = sorted(
        zip(bundle.selected, explanation.contributions[0], strict=True), key=lambda pair: (-abs(pair[1]), pair[0])
    )[:6]
    assert [(f["feature"], f["shap_value"]) for f in answer["top_shap_features"]] == expected
    assert list(answer) == [
        "prediction_id",
        "churn_probability",
        "churn_prediction",
        "base_value",
        "explanation_scale",
        "top_shap_features",
        "model_version",
    ]


def test_raw_headers_and_names_give_the_same(client: TestClient, customer: dict[str, Any]):
    raw = {header: customer[name] for header, name in RAW_HEADERS.items()}
    rest = {name: value for name, value in customer.items() if name not in RAW_HEADERS.values()}
    answers = [client.post("/predict", json=body).json() for body in (customer, raw | rest)]
    assert answers[0] | {"prediction_id": ""} == answers[1] | {"prediction_id": ""}


def test_both_names_of_a_column_are_refused(client: TestClient, customer: dict[str, Any]):
    response = client.post("/predict", json=customer | {"Account length": 128})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["field"], error["rule"]) == ("account_length", "unique")


def test_charges_and_state_are_optional(client: TestClient, customer: dict[str, Any]):
    """The bill is computed from the minutes."""
    optional = {name for name in customer if name.endswith("_charge")} | {"state", "area_code", "customer_id"}
    few = {name: value for name, value in customer.items() if name not in optional}
    answers = [client.post("/predict", json=body).json() for body in (customer, few)]
    assert answers[0]["churn_probability"] == answers[1]["churn_probability"]


@pytest.mark.parametrize(
    ("name", "value", "same_as"),
    [
        ("account_length", 128.0, 128),
        ("area_code", 415, "415"),
        ("voice_mail_plan", True, "Yes"),
        ("state", None, "KS"),
        ("total_day_minutes", 265, 265.0),
    ],
)
def test_spellings_of_the_same_value_are_accepted(
    client: TestClient, customer: dict[str, Any], name: str, value: Any, same_as: Any
):
    answers = [client.post("/predict", json=customer | {name: given}) for given in (value, same_as)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["churn_probability"] == answers[1].json()["churn_probability"]


@pytest.mark.parametrize(
    ("choices", "value", "choice"),
    [
        (("0", "1"), 0, "0"),
        (("0", "1"), 1.0, "1"),
        (("0", "1"), True, "1"),
        (("1", "2"), 2, "2"),
        (("1", "0"), 0.0, "0"),
        (("No", "Yes"), False, "No"),
    ],
)
def test_a_flag_of_digits_is_accepted_as_a_number(choices: tuple[str, str], value: Any, choice: str):
    target = Column(name="left", kind="target", choices=("no", "yes"))
    form = CustomerForm(Schema(columns=(Column(name="senior", kind="flag", choices=choices), target)))
    assert form.read({"senior": value}) == {"senior": choice}
    assert form.read_all([{"senior": value}]) == [{"senior": choice}]


@pytest.mark.parametrize(
    ("choices", "value"), [(("0", "1"), 2), (("0", "1"), 0.5), (("0", "1"), "00"), (("No", "Yes"), 2)]
)
def test_another_number_for_a_flag_is_refused(choices: tuple[str, str], value: Any):
    target = Column(name="left", kind="target", choices=("no", "yes"))
    form = CustomerForm(Schema(columns=(Column(name="senior", kind="flag", choices=choices), target)))
    with pytest.raises(Problem, match=f"senior must be one of {', '.join(choices)}"):
        form.read({"senior": value})


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/health/live", "/openapi.json", "/docs"])
def test_every_path_is_the_same_under_a_root_path(make_settings: Callable[..., Settings], path: str):
    def statuses(client: TestClient, *paths: str) -> list[int]:
        body = a_customer() if path == "/predict" else [a_customer()]
        ask = client.get if path[1] in "hod" else partial(client.post, json=body)
        return [ask(path).status_code for path in paths]

    settings = make_settings()
    by_server = TestClient(create_app(settings), base_url="http://127.0.0.1", client=LOCAL, root_path="/churn")
    with by_server:  # uvicorn --root-path puts it before every path
        assert statuses(by_server, f"/churn{path}", f"/churn/churn{path}") == [200, 404]
    api = settings.api.model_copy(update={"root_path": "/churn"})
    with client_of(settings.model_copy(update={"api": api})) as by_setting:
        assert statuses(by_setting, path, f"/churn{path}", f"/churnx{path}") == [200, 200, 404]
        assert by_setting.get("/openapi.json").json()["servers"] == [{"url": "/churn"}]
        assert by_setting.get("/churn/").json()["documentation"] == "/churn/docs"


def test_a_prediction_is_recorded_with_its_model_and_inputs(client: TestClient, customer: dict[str, Any]):
    answer = client.post("/predict", json=customer).json()
    recorded = client.get(f"/predictions/{answer['prediction_id']}").json()
    assert {name: recorded[name] for name in answer} == answer
    assert recorded["customer_id"] == "C-1"
    assert recorded["inputs"] == {name: value for name, value in customer.items() if name != "customer_id"}
    assert recorded["outcome"] == {"churned": None, "known_at": None}


@pytest.mark.parametrize("path", ["/predictions/nothing", "/predictions/%00", "/predictions/" + "0" * 36])
def test_an_unknown_prediction_is_404(client: TestClient, path: str):
    response = client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_a_list_is_answered_in_order(client: TestClient, customer: dict[str, Any]):
    customers = [customer | {"customer_id": f"C-{i}", "total_day_minutes": 40.0 * i} for i in range(9)]
    response = client.post("/predict/batch", json=customers)
    assert response.status_code == 200
    alone = [client.post("/predict", json=body).json()["churn_probability"] for body in customers]
    assert [answer["churn_probability"] for answer in response.json()] == alone
    ids = [answer["prediction_id"] for answer in response.json()]
    assert [client.get(f"/predictions/{i}").json()["customer_id"] for i in ids] == [f"C-{i}" for i in range(9)]


def test_a_long_list_is_scored_beside_the_event_loop(client: TestClient, customer: dict[str, Any]):
    customers = [customer | {"total_day_minutes": float(i % 300)} for i in range(1000)]
    answers = client.post("/predict/batch", json=customers).json()
    assert len({answer["prediction_id"] for answer in answers}) == 1000
    assert len({answer["churn_probability"] for answer in answers}) > 1


def test_a_list_names_the_row_and_records_nothing(client: TestClient, customer: dict[str, Any]):
    response = client.post("/predict/batch", json=[customer, customer | {"account_length": "180"}, customer, []])
    assert response.status_code == 422
    assert [(e["row"], e.get("field"), e["rule"]) for e in response.json()["errors"]] == [
        (2, "account_length", "type"),
        (4, None, "object"),
    ]
    assert "churnops_predictions_total{" not in client.get("/metrics").text


def test_nothing_of_a_refused_body_comes_back(client: TestClient, customer: dict[str, Any]):
    secret = "hunter2-" * 20
    wrong = (customer | {"voice_mail_plan": secret}, customer | {"account_length": secret}, {"customer_id": secret * 9})
    for body in wrong:
        response = client.post("/predict", json=body)
        assert response.status_code == 422
        assert "hunter2" not in response.text
        assert len(response.content) < 4096


def test_an_explanation_that_overflows_is_refused(make_settings, customer: dict[str, Any]):
    """Overflow is an error and records nothing; the explanation is never zeros."""
    settings = make_settings()
    production = settings.path("models/production")
    bundle = Bundle.load(production)
    columns = tuple(c.model_copy(update={"minimum": None, "maximum": None}) for c in bundle.schema.columns)
    width = len(bundle.selected)
    steep = LinearModel(np.full(width, 1e300), 0.0, np.zeros(width))
    folder = settings.path("models/versions/steep")
    changed = {"schema": Schema(columns=columns), "estimator": steep, "algorithm": "logistic_regression"}
    replace(bundle, **changed).save(folder)
    production.unlink()
    production.symlink_to(folder)
    with client_of(settings) as client:
        assert client.post("/predict", json=customer).status_code == 200
        response = client.post("/predict", json=customer | {"total_day_minutes": 1e308})
        assert response.status_code == 422
        assert response.json()["type"] == "urn:churnops:problem:no-score"
        assert 'churnops_predictions_total{churn="true"' in (text := client.get("/metrics").text)
        assert text.count("churnops_predictions_total{") == 1


def test_answering_without_a_journal_must_be_allowed(make_settings, customer: dict[str, Any]):
    for required, status in ((True, 503), (False, 200)):
        settings = make_settings(journal={"required": required})
        with client_of(settings) as client:
            assert client.post("/predict", json=customer).status_code == 200
            _damage(settings)
            response = client.post("/predict", json=customer)
            assert response.status_code == status
            assert "churnops_journal_failures_total 1.0" in client.get("/metrics").text
            assert client.get("/health/ready").status_code == status
        settings.path("journal.db").unlink()


def _damage(settings: Settings) -> None:
    import sqlite3

    connection = sqlite3.connect(settings.path("journal.db"), timeout=PATIENCE)
    connection.execute("DROP TABLE labels")
    connection.execute("DROP TABLE predictions")
    connection.commit()
    connection.close()


def test_without_predictions_nothing_is_recorded(make_settings, customer: dict[str, Any]):
    with client_of(make_settings(journal={"predictions": False})) as client:
        answer = client.post("/predict", json=customer).json()
        assert client.get(f"/predictions/{answer['prediction_id']}").status_code == 404


def test_the_answer_is_json_and_stays_out_of_caches(client: TestClient, customer: dict[str, Any]):
    response = client.post("/predict", content=json.dumps(customer), headers={"content-type": "Application/JSON"})
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert len(response.headers["x-request-id"]) == 16


def test_a_durable_journals_log_is_moved_as_it_grows(make_settings: Callable[..., Settings], customer: dict[str, Any]):
    settings = make_settings(journal={"durability": "power"})
    with client_of(settings) as client:
        for batch in range(60):  # the move waits for its turn of a busy processor
            assert client.post("/predict/batch", json=[customer] * 3000).status_code == 200
            whole, log = ((settings.root / name).stat().st_size for name in ("journal.db", "journal.db-wal"))
            if batch > 4 and log < whole / 2:
                break
    assert log < whole / 2


@pytest.mark.parametrize("given", [1, 1.0, True, "1", "yes", " TRUE "])
def test_a_flag_has_one_meaning_in_each_spelling(client: TestClient, customer: dict[str, Any], given: Any):
    answers = [client.post("/predict", json={**customer, "voice_mail_plan": value}).json() for value in ("Yes", given)]
    assert answers[0]["churn_probability"] == answers[1]["churn_probability"]
