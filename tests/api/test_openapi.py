"""The OpenAPI document is true: requests made up from it get documented answers, for whatever table the model is of."""

import html
import itertools
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import polars as pl
import pytest
import schemathesis
from fastapi.testclient import TestClient
from httpx2 import ASGITransport, AsyncClient, Response
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from churnops.api.customers import CustomerForm
from churnops.api.examples import example_value
from churnops.api.uploads.formats import UPLOADS
from churnops.journal.database import open_database
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.schema import Column, Schema
from churnops.settings import Settings
from tests.support.api import LOCAL, client_of, make_key
from tests.support.own_table import own_service
from tests.support.projects import deployed

EXAMPLES = 200  # requests made up for each operation, as far as there are so many different ones
OPEN = {"/", "/health/live", "/health/ready"}
CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE

WRONG = "churnops_0123456789ab_nonsense"

Service = tuple[TestClient, dict[str, Any], str, Settings]
Asker = tuple[TestClient, str | None]
"""A client, and the key that it sends."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[Service]:
    """A client, the document, an admin's key and the settings."""
    settings = deployed(tmp_path_factory.mktemp("openapi"), project[0], api={"rate_limit": 1_000_000})
    key = make_key(settings, "admin")
    with client_of(settings) as client:
        yield client, client.get("/openapi.json").json(), key, settings


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[Service]:
    """A service whose journal has lost its tables."""
    settings = deployed(tmp_path_factory.mktemp("broken"), project[0], api={"rate_limit": 1_000_000})
    key = make_key(settings, "admin")
    with client_of(settings) as client:
        engine = open_database(settings.database_url(settings.journal.url))
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE labels")
            connection.exec_driver_sql("DROP TABLE predictions")
        engine.dispose()
        yield client, client.get("/openapi.json").json(), key, settings


def promised(case: Any) -> bool:
    """Whether the document promises that what conforms to it is accepted.

    It cannot say which labels are of the past and of known predictions, or what stands in a file.
    """
    return case.media_type == "application/json" and case.path.startswith("/predict")


def accepted_too(document: dict[str, Any], case: Any) -> bool:
    """Whether a body conforms once numbers and booleans for choices are texts: one type each is in the document."""
    properties = document["components"]["schemas"]["Customer"]["properties"]
    kinds = {name: next(iter(schema.get("anyOf", [schema]))) for name, schema in properties.items()}

    def as_text(name: str, value: Any) -> Any:
        kind = kinds.get(name, {})
        choices = kind.get("enum", ())
        if isinstance(value, bool):
            return choices[value] if len(choices) == 2 else value
        if "examples" in kind and isinstance(value, int | float):
            return str(value)  # any level
        text = f"{value:.0f}" if isinstance(value, int | float) and value == value // 1 else value
        return text if text in choices else value

    def texts(body: Any) -> Any:
        if isinstance(body, list):
            return [texts(item) for item in body]
        return {name: as_text(name, value) for name, value in body.items()} if isinstance(body, dict) else body

    content = document["paths"][case.path]["post"]["requestBody"]["content"].get("application/json")
    if content is None or case.media_type != "application/json" or isinstance(case.body, bytes):
        return False
    return jsonschema_rs.is_valid(content["schema"] | {"components": document["components"]}, texts(case.body))


def ask(client: TestClient, case: Any, key: str | None) -> Any:
    sent = case.as_transport_kwargs(base_url="http://127.0.0.1")
    headers = {name: value for name, value in sent["headers"].items() if name.lower() != "x-api-key"}
    if key is not None:
        headers["X-API-Key"] = key
    body = {"json": sent["json"]} if "json" in sent else {"content": sent.get("data")}

    async def answer() -> Response:
        """Ask within the event loop of the service: the test client would change threads eight times."""
        transport = ASGITransport(client.app, client=LOCAL)
        async with AsyncClient(transport=transport, base_url=client.base_url) as asker:
            return await asker.request(sent["method"], sent["url"], params=sent.get("params"), headers=headers, **body)

    assert client.portal is not None
    return client.portal.call(answer)


def check(
    document: dict[str, Any], label: str, mode: GenerationMode, *askers: Asker, examples: int = EXAMPLES
) -> list[Counter[int]]:
    """Generate requests from the document, and check the answer to each; count the answers by status."""
    # Keys are chosen by the askers: without the declaration no header is made up for them.
    plain = json.loads(json.dumps(document))
    for operations in plain["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    schema = schemathesis.openapi.from_dict(plain)
    operation = next(found.ok() for found in schema.get_all_operations() if found.ok().label == label)
    counts: list[Counter[int]] = [Counter() for _ in askers]

    @seed(1)
    @hypothesis_settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(mode))
    def answers_are_documented(case: Any) -> None:
        for (client, key), statuses in zip(askers, counts, strict=True):
            response = ask(client, case, key)
            status = response.status_code
            statuses[status] += 1
            checks = list(CONFORMANCE)
            # 413 is a refusal too, for what is too long
            accepted = mode is NEGATIVE and status == 200 and accepted_too(document, case)
            if mode is NEGATIVE and status not in (401, 413, 503) and not accepted:
                checks.append(negative_data_rejection)
            elif mode is POSITIVE and promised(case) and status != 503:
                checks.append(positive_data_acceptance)
            case.validate_response(response, checks=checks)
            assert status < 500 or status == 503
            if status >= 400:
                assert len(response.content) < 8192

    answers_are_documented()
    return counts


OPERATIONS = [
    "POST /predict",
    "POST /predict/batch",
    "POST /predict/probe",
    "POST /predict/what-if",
    "POST /features",
    "POST /labels",
    "GET /predictions/{prediction_id}",
    "POST /call-lists",
    "GET /call-lists",
    "GET /call-lists/{id}",
    "POST /contacts",
    "GET /model",
    "POST /model/reload",
    "GET /experiments/shadow",
    "GET /decision",
    "PUT /decision",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
    "GET /",
]
TAKE_BODIES = [*OPERATIONS[:3], "POST /labels"]


def test_the_tests_cover_every_operation(service: Service):
    found = [f"{method.upper()} {path}" for path, methods in service[1]["paths"].items() for method in methods]
    assert sorted(found) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_a_conforming_request_is_answered_as_documented(service: Service, broken: Service, label: str):
    """With an admin's key, a wrong one and none; and while the journal fails."""
    client, document, key, _ = service
    askers = (client, key), (client, WRONG), (client, None), (broken[0], broken[2])
    admin, wrong, nobody, journal_fails = check(document, label, POSITIVE, *askers)
    if label in TAKE_BODIES:
        assert admin.total() == EXAMPLES
    assert not {401, 503} & set(admin)
    if label.startswith(("GET /predictions", "GET /experiments")):
        assert set(admin) == {404}  # no such prediction, and no shadow yet
    elif label in ("POST /call-lists", "GET /call-lists/{id}"):
        assert set(admin) <= {200, 404, 409, 422}  # scores count after 35 seconds
    else:
        assert admin[200] > 0
    assert set(wrong) == set(nobody) == ({200} if label.split()[1] in OPEN else {401})
    if label == "POST /predict":
        assert set(journal_fails) == {404, 503}  # 404: nothing is stored for a customer that is named only
    if label == "GET /health/ready":
        assert set(journal_fails) == {503}
    if label in ("POST /predict/batch", "POST /labels"):
        assert 200 not in journal_fails
        assert journal_fails[503] > 0
    if label in ("POST /predict/probe", "POST /predict/what-if"):
        assert set(journal_fails) == {200}  # it is not recorded


@pytest.mark.parametrize("label", TAKE_BODIES)
def test_a_request_that_does_not_conform_is_refused_as_documented(service: Service, broken: Service, label: str):
    client, document, key, _ = service
    admin, nobody, journal_fails = check(
        document, label, NEGATIVE, (client, key), (client, None), (broken[0], broken[2])
    )
    assert admin.total() == EXAMPLES
    assert set(admin) <= {200, 400, 404, 413, 415, 422}  # 200: see `accepted_too`
    assert set(nobody) == {401}
    assert set(journal_fails) <= {200, 400, 404, 413, 415, 422, 503}


def test_the_document_is_valid(service: Service):
    document = service[1]
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.validator_for(schema | {"components": document["components"]})
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"]
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            assert ("security" in operation) is (path not in OPEN)
    assert str(service[3].root) not in text


def test_operations_have_short_ids_tags_and_summaries(service: Service):
    document = service[1]
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert [operation["operationId"] for operation in operations] == [
        "predict",
        "predict_batch",
        "predict_probe",
        "predict_what_if",
        "store_features",
        "record_outcomes",
        "get_prediction",
        "list_call_lists",
        "make_call_list",
        "get_call_list",
        "record_contacts",
        "get_model",
        "reload_model",
        "get_decision",
        "set_decision",
        "get_shadow",
        "check_live",
        "check_ready",
        "get_metrics",
        "get_index",
    ]
    declared = {tag["name"] for tag in document["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == declared
    assert len({operation["summary"] for operation in operations}) == len(operations)
    assert "HTTPValidationError" not in json.dumps(document)


def assert_answers_have_examples(document: dict[str, Any]) -> None:
    """Check that each operation has an example of its answer, which conforms to the document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            kind, content = next(iter(operation["responses"]["200"]["content"].items()))
            assert content["example"], kind
            jsonschema_rs.validate(content["schema"] | {"components": document["components"]}, content["example"])


def test_each_answer_has_an_example(service: Service):
    _, document, *_ = service
    assert_answers_have_examples(document)
    example = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    shares = [reason["shap_value"] for reason in example["top_shap_features"]]
    assert example["churn_probability"] == pytest.approx(example["base_value"] + sum(shares))


def test_answer_examples_show_nothing_that_the_model_learned(service: Service):
    """Anybody may read the document, but only a key with the scope predict the model and its answers."""
    client, document, key, _ = service
    model = client.get("/model", headers={"x-api-key": key}).json()
    text = json.dumps(document)
    assert model["model_version"] not in text
    assert model["content_sha256"] not in text
    assert str(model["base_value"]) not in text


def test_choices_have_one_type(service: Service, own: Service):
    for _, document, *_ in (service, own):
        for schema in document["components"]["schemas"].values():
            for field in schema.get("properties", {}).values():
                kinds = [kind["type"] for kind in (field, *field.get("anyOf", ())) if "enum" in kind]
                assert kinds in ([], ["string"])


def test_choices_that_differ_in_case_only_have_names_for_clients():
    def names(*choices: str) -> Any:
        columns = (
            Column(name="plan", kind="category", choices=choices, open=False),
            Column(name="churn", kind="target", choices=("No", "Yes")),
        )
        return CustomerForm(Schema(columns=columns)).model.model_json_schema()["properties"]["plan"]

    assert names("a b", "A-b", "c")["x-enum-varnames"] == ["CHOICE_0_AB", "CHOICE_1_AB", "CHOICE_2_C"]
    assert "x-enum-varnames" not in names("a b", "c", "1", "007")


def examples(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                if kind == "application/json":
                    yield path, content["example"]


def assert_true(client: TestClient, document: dict[str, Any], key: str | None = None) -> None:
    """Check that the examples conform to the document, and are answered."""
    found = dict(examples(document))
    posted = {"/predict", "/predict/batch", "/predict/probe", "/predict/what-if", "/features", "/labels"}
    posted |= {"/call-lists", "/contacts"}
    assert set(found) == {*posted, "/decision"}
    for path, example in found.items():
        method = "put" if path == "/decision" else "post"
        schema = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema_rs.validate(schema | {"components": document["components"]}, example)
        response = client.request(method, path, json=example, headers={"x-api-key": key} if key else {})
        assert response.status_code == 200 or (path, response.status_code) == ("/call-lists", 409), response.text


def test_the_examples_are_answered(service: Service):
    assert_true(*service[:3])


def test_the_example_is_made_up(service: Service):
    """Anybody may read the document: it shows no customer that the model learned from, nor one of its probe rows."""
    _, document, _, settings = service
    example = dict(examples(document))["/predict"]
    assert example == {
        "customer_id": "C-1001",
        "account_length": 500,
        "international_plan": "No",
        "voice_mail_plan": "No",
        "number_vmail_messages": 250,
        **{name: 720.0 for name in example if name.endswith("_minutes")},
        **{name: 500 for name in example if name.endswith("_calls")},
        "customer_service_calls": 50,
    }
    probes = Bundle.load(settings.path("models/production")).probes
    assert 500.0 not in probes["account_length"]


BOUNDS = [None, -1e300, -3, 0, 0.2, 0.8, 10, 1e300]


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_examples_are_within_their_bounds(kind: Any):
    for low, high in itertools.product(BOUNDS, BOUNDS):
        if low is not None and high is not None and low > high:
            continue
        value = example_value(Column(name="x", kind=kind, minimum=low, maximum=high))
        if value is None:
            assert kind == "integer"
            assert low == 0.2 or low == 0.8 or low == 1e300 or high == -1e300
        else:
            assert low is None or low <= value
            assert high is None or value <= high


def test_files_are_documented(service: Service):
    operation = service[1]["paths"]["/predict/batch"]["post"]
    for content in (operation["requestBody"]["content"], operation["responses"]["200"]["content"]):
        assert set(content) == {"application/json", *UPLOADS}


# Other tables than ours

GAPS = """
features:
  derived:
    - {name: spend_per_month, expression: spend / tenure, description: Spend per month}
schema:
  columns:
    - {name: customer, alias: Kunde, kind: id, required: false}
    - {name: since, alias: Since, kind: time}
    - {name: tenure, alias: Tenure, kind: integer, minimum: 0, nullable: true}
    - {name: spend, alias: Spend (€), kind: number, minimum: 0, nullable: true}
    - {name: region, alias: Región, kind: category, choices: ["1", "2", "007"], nullable: true}
    - {name: contract, alias: Contract, kind: category, choices: [monthly, "yearly, paid ahead", zwei Jahre]}
    - {name: support, alias: Support, kind: flag, choices: ["0", "1"], nullable: true}
    - {name: left, alias: Left, kind: target, choices: ["no", "yes"]}
"""
# No id; and columns whose names mean something to the library that checks customers.
NAMES = """
schema:
  columns:
    - {name: copy, kind: number, minimum: -1.5, maximum: 1.5}
    - {name: schema, kind: integer}
    - {name: model_config, kind: flag, choices: [nein, ja], required: false}
    - {name: model_fields_set, kind: number}
    - {name: model_dump, kind: category, choices: [a, b]}
    - {name: gone, kind: target, choices: ["0", "1"]}
"""


def gaps(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    tenure, spend = rng.integers(1, 60, rows), rng.gamma(3, 20, rows).round(2)
    table = pl.DataFrame(
        {
            "Kunde": [f"Ä-{i:05d}" for i in range(rows)],
            "Since": ["2026-01-15"] * rows,
            "Tenure": tenure,
            "Spend (€)": spend,
            "Región": rng.choice(["1", "2", "007"], rows),
            "Contract": rng.choice(["monthly", "yearly, paid ahead", "zwei Jahre"], rows),
            "Support": rng.integers(0, 2, rows).astype(str),
            "Left": np.where(rng.random(rows) * 60 > tenure, "yes", "no"),
        }
    )
    missing = {name: rng.random(rows) < 0.5 for name in ("Tenure", "Spend (€)", "Región", "Support")}
    return table.with_columns(
        pl.when(pl.Series(gap)).then(None).otherwise(pl.col(name)).alias(name) for name, gap in missing.items()
    )


def names(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "copy": rng.uniform(-1.5, 1.5, rows).round(3),
            "schema": rng.integers(-9, 9, rows),
            "model_config": rng.choice(["nein", "ja"], rows),
            "model_fields_set": rng.normal(size=rows),
            "model_dump": rng.choice(["a", "b"], rows),
            "gone": rng.integers(0, 2, rows).astype(str),
        }
    )


@pytest.fixture(scope="module", params=[(GAPS, gaps), (NAMES, names)], ids=["gaps", "names"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config, make = request.param
    settings = own_service(tmp_path_factory.mktemp("own"), config, make(400, np.random.default_rng(3)))
    with client_of(settings) as client:
        yield client, client.get("/openapi.json").json(), "", settings


def test_a_label_and_unit_are_the_title_of_a_field():
    columns = (
        Column(name="talk", kind="number", label="Talk by day", unit="min"),
        Column(name="calls", kind="integer"),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
    fields = CustomerForm(Schema(columns=columns)).model.model_json_schema()["properties"]
    assert fields["talk"]["title"] == "Talk by day (min)"
    assert "(" not in fields["calls"]["title"]


def test_another_table_has_another_document(own: Service):
    client, document, _, settings = own
    customer = document["components"]["schemas"]["Customer"]
    target = settings.table.target.name
    declared = {column.name: column for column in settings.table.columns if column.name != target}
    identifier = settings.table.identifier.name if settings.table.identifier else "customer_id"
    assert set(customer["properties"]) == {*declared, identifier}
    needed = {c.name for c in settings.table.model_inputs if not c.nullable}
    assert set(customer["required"]) == needed
    for name, column in declared.items():
        if column.alias:
            assert column.alias in customer["properties"][name]["description"]
    assert_true(client, document)
    assert_answers_have_examples(document)


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE], ids=["conforming", "not-conforming"])
@pytest.mark.parametrize("label", ["POST /predict", "POST /predict/batch", "POST /predict/probe"])
def test_another_tables_document_is_true(own: Service, label: str, mode: GenerationMode):
    client, document, *_ = own
    (statuses,) = check(document, label, mode, (client, None), examples=EXAMPLES // 4)
    assert statuses.total() == EXAMPLES // 4
    assert statuses[200] > 0 or mode is NEGATIVE
    assert 503 not in statuses


def test_another_tables_customers_are_kept_under_their_ids(own: Service):
    """Also if the table declares no id, because labels need one; from a file as from a list."""
    client, document, _, settings = own
    name = settings.table.identifier.name if settings.table.identifier else "customer_id"
    example = dict(examples(document))["/predict"] | {name: "Ö-1"}
    found = [client.post("/predict", json=example).json()["prediction_id"]]
    line = json.dumps(example).encode()
    answer = client.post("/predict/batch", content=line, headers={"content-type": "application/x-ndjson"})
    found.append(json.loads(answer.content)["prediction_id"])
    table = pl.DataFrame([example]).write_csv().encode()
    answer = client.post("/predict/batch", content=table, headers={"content-type": "text/csv"})
    found.append(pl.read_csv(answer.content)["prediction_id"].item())
    recorded = [client.get(f"/predictions/{prediction_id}").json() for prediction_id in found]
    assert [row["customer_id"] for row in recorded] == ["Ö-1"] * 3
    assert len({row["churn_probability"] for row in recorded}) == 1


@pytest.mark.parametrize("own", [(GAPS, gaps)], ids=["gaps"], indirect=True)
def test_a_category_of_digits_comes_as_text_or_number(own: Service):
    client, document, *_ = own
    example = dict(examples(document))["/predict"]
    answers = [client.post("/predict", json=example | {"region": region}) for region in ("2", 2, 2.0)]
    assert len({answer.json()["churn_probability"] for answer in answers}) == 1
    for region in (3, "3", 7, "7", 1.5):
        assert client.post("/predict", json=example | {"region": region}).json()["unknown"] == ["region"]
    assert client.post("/predict", json=example | {"region": True}).status_code == 422


def test_the_page_needs_nothing_from_elsewhere_and_may_not_be_framed(service: Service):
    client, document, *_ = service
    answer = client.get("/docs")
    headers = answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert not re.findall(r"<script|\son\w+=|javascript:|src=|https?://(?!localhost)", answer.text)
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<b>{method.upper()}</b>{path}</h2>" in answer.text
    for name in document["components"]["schemas"]:
        assert f'<h2 id="{name}">' in answer.text


def test_the_command_lines_of_the_page_work(service: Service, tmp_path: Path):
    """Run each command in a shell, with a program in place of curl that only prints its arguments."""
    client, _, key, _ = service
    text = html.unescape(client.get("/docs").text)
    lines = [line for line in re.findall(r"<pre>(.*?)</pre>", text, re.S) if line.startswith("curl")]
    assert len(lines) == len(OPERATIONS)
    (tmp_path / "curl").write_text('#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done\n')
    (tmp_path / "curl").chmod(0o700)
    answered = 0
    for line in lines:
        variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "URL": "", "KEY": key}
        done = subprocess.run(["sh", "-c", line], env=variables, capture_output=True, text=True, check=True)
        words = done.stdout.split("\0")[:-1]
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        path = next(word for word in words if word.startswith("/"))
        given = [words[place + 1].split(": ") for place, word in enumerate(words) if word == "-H"]
        content = words[words.index("-d") + 1] if "-d" in words else None
        status = client.request(method, path, content=content, headers=dict(given)).status_code
        missing = "{" in path or path == "/experiments/shadow"
        unscored = (method, path) == ("POST", "/call-lists")  # scores count after 35 seconds
        assert status == (404 if missing else 200) or (unscored and status == 409), line
        answered += status == 200 or unscored
    assert answered == len(OPERATIONS) - 3
