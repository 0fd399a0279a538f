"""Invalid requests: each is refused with a problem that names the fault, and leaves nothing in the journal."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pyarrow import parquet, table

from churnops.api.body import FORMS
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, recorded
from tests.support.api_server import Server, serving
from tests.support.processes import wait_for
from tests.support.projects import deployed

SECRET = "hunter2"
JSON, CSV, NDJSON, PARQUET = "application/json", "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"
FORM = {"content-type": "multipart/form-data; boundary=x"}
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]
) -> Iterator[tuple[Settings, TestClient]]:
    """One service for all: a bad request changes nothing."""
    settings = deployed(tmp_path_factory.mktemp("bad-inputs"), project[0])
    with client_of(settings) as client:
        yield settings, client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[Server]:
    settings = deployed(tmp_path_factory.mktemp("bad-http"), project[0])
    with serving(settings, fresh=True) as server:
        yield server
        assert recorded(settings) == 0


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[Server]:
    """A server that waits a second for a body."""
    settings = deployed(tmp_path_factory.mktemp("impatient"), project[0], api={"timeout_seconds": 1.0})
    with serving(settings) as server:
        yield server
        assert recorded(settings) == 0


@dataclass(frozen=True)
class Bad:
    """A request and its expected answer; `field` and `rule` are those of the first error."""

    id: str
    body: bytes
    status: int = 422
    field: str | None = None
    rule: str | None = None
    row: int | None = None
    says: str = ""
    path: str = "/predict"
    headers: dict[str, str] | None = None  # None: JSON


def bad(name: str, body: Any, status: int = 422, /, **expected: Any) -> Bad:
    """`body` is bytes, text, or what is sent as JSON."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode("utf-8", "surrogatepass")
    return Bad(name, body, status, **expected)


def value(name: str, raw: str, rule: str, status: int = 422, says: str = "") -> Bad:
    """A customer with one value written `raw`."""
    text = json.dumps(a_customer(**{name: None})).replace(f'"{name}": null', f'"{name}": {raw}')
    return bad(f"{name}={raw[:20]}", text, status, field=name, rule=rule, says=says)


def label(name: str, body: Any, status: int = 422, /, **expected: Any) -> Bad:
    return bad(f"label-{name}", body, status, path="/labels", **expected)


def batch(name: str, body: Any, status: int = 422, kind: str = JSON, **expected: Any) -> Bad:
    return bad(f"batch-{name}", body, status, path="/predict/batch", headers={"content-type": kind}, **expected)


def typed(name: str, status: int, /, body: bytes | None = None, **headers: str) -> Bad:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return bad(name, a_customer() if body is None else body, status, headers=named)


def csv(*changes: dict[str, Any], header: list[str] | None = None, last: str = "\n") -> str:
    rows = [a_customer(**change) for change in changes]
    lines = [",".join(header or list(rows[0])), *(",".join(map(str, row.values())) for row in rows)]
    return "\n".join(lines) + last


def parquet_of(**changes: Any) -> bytes:
    file = BytesIO()
    columns = {name: [value] * 3 for name, value in a_customer().items()} | changes
    parquet.write_table(table({name: values for name, values in columns.items() if values is not None}), file)
    return file.getvalue()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in a_customer().items() if key != name}


ONE = json.dumps(a_customer())
LONG = 128 * "é" + "é"

BAD = [
    # one value
    bad("missing-field", without("account_length"), field="account_length", rule="required"),
    value("account_length", "null", "type"),
    value("voice_mail_plan", "null", "choices"),
    value("account_length", '"180"', "type"),
    value("total_day_minutes", f'"{SECRET}"', "type"),
    value("total_day_minutes", "true", "type"),
    value("account_length", "false", "type"),
    value("total_day_minutes", "[1]", "type"),
    value("total_day_minutes", '{"a": 1}', "type"),
    bad("NaN", ONE.replace("265.1", "NaN"), rule="finite"),
    bad("Infinity", ONE.replace("265.1", "Infinity"), rule="finite"),
    bad("-Infinity", ONE.replace("265.1", "-Infinity"), rule="finite"),
    value("total_day_minutes", "1e400", "finite"),
    value("account_length", "1e400", "type"),
    value("account_length", "1e300", "maximum"),
    bad("5000-digits", ONE.replace("128", "9" * 5000), rule="number"),
    value("account_length", "9" * 4000, "maximum"),
    value("account_length", "-0.5", "type"),
    value("account_length", "0", "minimum", says="at least 1"),
    value("total_day_minutes", "-1e-300", "minimum"),
    value("account_length", "1001", "maximum"),
    value("total_day_minutes", "1440.0000000001", "maximum", says="at most 1440"),
    value("area_code", "true", "type"),
    value("area_code", "[]", "type"),
    value("area_code", r'"\ud800"', "characters"),
    value("voice_mail_plan", '"perhaps"', "choices", says="No, Yes"),
    value("voice_mail_plan", "7", "choices"),
    value("voice_mail_plan", "[]", "choices"),
    value("customer_id", r'"\ud800"', "characters"),
    value("customer_id", r'"a\u0000b"', "characters"),
    value("customer_id", f'"{LONG}"', "length"),
    value("customer_id", "17", "type"),
    value("customer_id", "{}", "type"),
    # fields
    bad("unknown-field", a_customer(shoe_size=SECRET), field="shoe_size", rule="unknown", says="no field 'shoe_size'"),
    bad("empty-field-name", a_customer(**{"": 1}), field="", rule="unknown"),
    bad("surrogate-in-field-name", ONE[:-1] + r', "\ud800": 1}', rule="characters"),
    bad("misspelt-field", without("account_length") | {"acount_length": 1}, rule="required"),
    bad("misspelt-extra-field", a_customer(acount_length=1), rule="unknown", says="did you mean 'account_length'?"),
    bad("outcome-sent-along", a_customer(churn=SECRET), field="churn", rule="unknown", says="'churn' is the outcome"),
    bad("outcome-by-its-header", a_customer(Churn="True"), field="Churn", rule="unknown", says="/labels"),
    bad("both-names", a_customer(**{"Account length": 128}), field="account_length", rule="unique"),
    bad("prediction-id-sent-along", a_customer(prediction_id="x"), field="prediction_id", rule="unknown"),
    bad("thousands-of-fields", {f"{SECRET}{i}": 1 for i in range(3000)}, rule="size"),
    bad("long-field-name", a_customer(**{"x" * 60_000: 1}), rule="unknown"),
    # JSON
    bad("deep-nesting", "[" * 10_000 + "]" * 10_000, rule="nesting"),
    bad("deep-nesting-in-a-value", ONE.replace("265.1", '{"a":' * 5000 + "1" + "}" * 5000), rule="nesting"),
    bad("never-closed", "[" * 30_000, rule="nesting"),
    bad("duplicate-key", ONE[:-1] + ', "state": "NJ"}', rule="unique"),
    bad("duplicate-key-nested", ONE[:-1] + ', "extra": [{"a": 1, "a": 2}]}', rule="unique"),
    bad("list", [a_customer()], rule="object"),
    bad("string", '"KS"', rule="object"),
    bad("number", "1", rule="object"),
    bad("null", "null", rule="object"),
    bad("empty-object", "{}", rule="required"),
    bad("empty", b"", 400),
    bad("truncated", ONE[:-20], 400),
    bad("trailing-garbage", ONE + SECRET, 400),
    bad("two-documents", ONE + ONE, 400),
    bad("trailing-comma", ONE[:-1] + ",}", 400),
    bad("single-quotes", ONE.replace('"', "'"), 400),
    bad("comment", "/* hunter2 */" + ONE, 400),
    bad("unquoted-key", "{state: 1}", 400),
    bad("hexadecimal", ONE.replace("265.1", "0x10"), 400),
    bad("leading-plus", ONE.replace("265.1", "+1"), 400),
    bad("control-character", ONE.replace("C-1", "C\n1"), 400),
    bad("not-utf-8", ONE.encode().replace(b"C-1", b"\xff\xfe"), 400),
    bad("raw-surrogate", ONE.encode().replace(b"C-1", b"\xed\xa0\x80"), 400),
    bad("overlong-utf-8", ONE.encode().replace(b"C-1", b"\xc0\xaf"), 400),
    bad("byte-order-mark", b"\xef\xbb\xbf" + ONE.encode(), 400),
    bad("utf-16", ONE.encode("utf-16"), 400),
    bad("binary", bytes(range(256)) * 4, 400),
    bad("too-large", b" " * 65_537, 413),
    # headers
    typed("text-plain", 415, content_type="text/plain"),
    typed("no-content-type", 415),
    typed("form", 415, content_type="application/x-www-form-urlencoded", body=b"state=KS"),
    *(
        Bad(f"multipart-{path[1:]}", b"--x\r\n\r\n--x--", 415, says=f"{FORMS}: send {instead}", path=path, headers=FORM)
        for path, instead in (
            ("/predict", "JSON with the header Content-Type: application/json"),
            ("/predict/probe", "JSON with the header Content-Type: application/json"),
            ("/labels", "JSON with the header Content-Type: application/json"),
            (
                "/predict/batch",
                "the file itself as the body, with one of the media types text/csv, application/x-ndjson",
            ),
        )
    ),
    typed("csv-for-one", 415, content_type=CSV),
    typed("json-with-a-suffix", 415, content_type="application/problem+json"),
    typed("charset-utf-16", 415, content_type=f"{JSON}; charset=utf-16"),
    typed("truncated-gzip", 415, content_type=JSON, content_encoding="gzip", body=b"\x1f\x8b\x08\x00"),
    typed("brotli-unknown", 415, content_type=JSON, content_encoding="identity, br"),
    typed("content-length-too-large", 413, content_type=JSON, content_length="9" * 30),
    typed("content-length-negative", 413, content_type=JSON, content_length="-1"),
    # lists
    batch("empty-list", [], says="at least one"),
    batch("object", a_customer(), says="JSON list"),
    batch("10001-items", "[" + "1," * 10_000 + "1]", 413),
    batch("bad-row", [a_customer(), a_customer(voice_mail_plan=SECRET)], row=2, rule="choices"),
    batch("all-rows-bad", [{"x": SECRET}] * 5000, row=1, rule="required"),
    batch("null-row", [a_customer(), None], row=2, rule="object"),
    batch("nested-lists", [[a_customer()]], row=1, rule="object"),
    batch("xml", "<customers/>", 415, "application/xml"),
    batch("gzip-type", b"\x1f\x8b", 415, "application/gzip"),
    # CSV
    batch(
        "csv-missing-column",
        csv({}, header=["x" if n == "state" else n for n in a_customer() if n]).replace("account_length", "acc"),
        kind=CSV,
        field="account_length",
        rule="missing column",
    ),
    batch(
        "csv-bad-value-in-row-3",
        csv({}, {}, {"total_day_minutes": SECRET}, {}),
        kind=CSV,
        row=3,
        rule="type",
        field="total_day_minutes",
    ),
    batch("csv-out-of-range", csv({}, {"account_length": 5000}), kind=CSV, row=2, rule="maximum"),
    batch("csv-unknown-flag", csv({"voice_mail_plan": "perhaps"}), kind=CSV, row=1, rule="choices"),
    batch("csv-missing-value", csv({"account_length": ""}), kind=CSV, row=1, rule="missing value"),
    batch("csv-half-a-call", csv({"account_length": 1.5}), kind=CSV, row=1, rule="integer"),
    batch("csv-nan", csv({"total_day_minutes": "NaN"}), kind=CSV, row=1, rule="finite"),
    batch("csv-infinity", csv({"total_day_minutes": "inf"}), kind=CSV, row=1, rule="finite"),
    batch("csv-number-with-a-space", csv({"total_day_minutes": "1 1"}), kind=CSV, row=1, rule="type"),
    batch("csv-ragged", csv({}, {}) + "a,b\n", kind=CSV, says="row 3 has 2 values"),
    batch("csv-too-wide", csv({}, {}, last=f",{SECRET}\n"), kind=CSV, says="row 2 has 21 values"),
    batch("csv-header-only", ",".join(a_customer()) + "\n", kind=CSV, says="no rows"),
    batch("csv-empty", b"", kind=CSV, says="empty"),
    batch("csv-blank", b"\n\n\n", kind=CSV, says="empty"),
    batch("csv-binary", bytes(range(256)) * 8, kind=CSV),
    batch("csv-zeros", b"\0" * 1000, kind=CSV, says="binary"),
    batch("csv-quoted-garbage", '"' + "\x7f,;" * 300, kind=CSV),
    batch("csv-open-quote", csv({}, {}, {"customer_id": '"C-3'}, {}), kind=CSV, says="row 3"),
    batch("csv-semicolons-in-the-header", csv({}).replace(",", ";", len(a_customer()) - 1), kind=CSV),
    batch("csv-half-a-utf-16-unit", csv({}).encode("utf-16")[:-1], kind=CSV),
    batch("csv-latin-1", csv({"customer_id": "Käse"}).encode("latin-1"), kind=CSV, says="row 1 is not UTF-8"),
    batch("csv-both-names", csv({"Account length": 1}), kind=CSV, says="given twice"),
    batch(
        "csv-repeated-header",
        csv({}, last=",KS\n").replace("\n", ",state\n", 1),
        kind=CSV,
        says="several columns have the header",
    ),
    batch(
        "csv-long-misspelt-header",
        csv({}).replace("account_length", f"account{'-' * 100_000}length"),
        kind=CSV,
        rule="missing column",
    ),
    batch("csv-endless-row", csv({}) + "x" * 2 * MEGABYTE, kind=CSV, says="longer than 1 MiB"),
    batch("csv-long-id", csv({"customer_id": "x" * 129}), kind=CSV, rule="length", row=1),
    batch("csv-nul-in-id", csv({"customer_id": "a\0b"}), kind=CSV, row=1, field="customer_id"),
    # NDJSON
    batch("ndjson-bad-line", ONE + "\n" + ONE + "\n{\n", 400, NDJSON, says="row 3"),
    batch(
        "ndjson-bad-value",
        f"{ONE}\n{json.dumps(a_customer(voice_mail_plan=SECRET))}",
        kind=NDJSON,
        row=2,
        rule="choices",
    ),
    batch("ndjson-long-line", ONE + "\n" + json.dumps(a_customer(note="x" * 70_000)), 413, NDJSON, says="row 2"),
    batch("ndjson-one-endless-line", "[" * 3 * MEGABYTE, 413, NDJSON, says="row 1"),
    batch("ndjson-empty", b"", kind=NDJSON, says="no customers"),
    batch("ndjson-blank", b"\n \n\t\n" + b" " * MEGABYTE, kind=NDJSON, says="no customers"),
    batch("ndjson-list", json.dumps([a_customer()]), kind=NDJSON, row=1, rule="object"),
    batch("ndjson-duplicate-key", ONE + "\n" + ONE[:-1] + ', "state": "NJ"}', kind=NDJSON, row=2, rule="unique"),
    batch("ndjson-deep", "[" * 9 + "]" * 9, kind=NDJSON, row=1, rule="nesting"),
    batch("ndjson-not-utf-8", b'{"state": "\xff"}', 400, NDJSON, says="row 1"),
    # Parquet
    batch("parquet-truncated", parquet_of()[:-100], kind=PARQUET, says="not a readable Parquet"),
    batch("parquet-cut-in-front", parquet_of()[50:], kind=PARQUET),
    batch("parquet-is-csv", csv({}), kind=PARQUET, says="not a readable Parquet"),
    batch("parquet-empty", b"", kind=PARQUET, says="empty"),
    batch("parquet-magic-only", b"PAR1PAR1", kind=PARQUET),
    batch("parquet-forged-footer", b"PAR1" + b"\xff" * 40 + b"\x7f\xff\xff\xff" + b"PAR1", kind=PARQUET),
    batch("parquet-damaged-pages", parquet_of()[:200] + b"\xff" * 300 + parquet_of()[500:], kind=PARQUET),
    batch(
        "parquet-text-for-number",
        parquet_of(total_day_minutes=["1", SECRET, "3"]),
        kind=PARQUET,
        row=2,
        rule="type",
        field="total_day_minutes",
    ),
    batch("parquet-lists", parquet_of(account_length=[[1]] * 3), kind=PARQUET, row=1, rule="type"),
    batch("parquet-bool-for-number", parquet_of(account_length=[True] * 3), kind=PARQUET, row=1, rule="type"),
    batch("parquet-nan", parquet_of(total_day_minutes=[float("nan")] * 3), kind=PARQUET, row=1, rule="missing value"),
    batch(
        "parquet-infinity", parquet_of(total_day_minutes=[1.0, 2.0, float("inf")]), kind=PARQUET, row=3, rule="finite"
    ),
    batch("parquet-missing-column", parquet_of(account_length=None), kind=PARQUET, rule="missing column"),
    batch("parquet-no-rows", parquet_of(**{name: [] for name in a_customer()}), kind=PARQUET, says="no rows"),
    batch("parquet-nested-id", parquet_of(customer_id=[{"a": 1}] * 3), kind=PARQUET, row=1, field="customer_id"),
    # labels
    label("both-ids", {"churned": True, "prediction_id": "a", "customer_id": "b"}, says="exactly one"),
    label("neither-id", {"churned": True}, says="exactly one"),
    label("null-ids", {"churned": True, "prediction_id": None, "customer_id": None}, says="exactly one"),
    label("no-outcome", {"customer_id": "a"}, field="churned"),
    label("null-outcome", {"churned": None, "customer_id": "a"}, field="churned"),
    label("text-outcome", {"churned": "true", "customer_id": "a"}, field="churned"),
    label("number-outcome", {"churned": 1, "customer_id": "a"}, field="churned"),
    label(
        "future", {"churned": True, "customer_id": "a", "outcome_at": "2999-01-01"}, field="outcome_at", says="future"
    ),
    label("before-1970", {"churned": True, "customer_id": "a", "outcome_at": "1969-12-31"}, field="outcome_at"),
    label("no-time", {"churned": True, "customer_id": "a", "outcome_at": SECRET}, field="outcome_at"),
    label("number-time", {"churned": True, "customer_id": "a", "outcome_at": 1_700_000_000}, field="outcome_at"),
    label(
        "outside-the-calendar",
        {"churned": True, "customer_id": "a", "outcome_at": "0001-01-01T00:00+14:00"},
        field="outcome_at",
    ),
    label("unknown-prediction", {"churned": True, "prediction_id": SECRET}, 404),
    label("long-prediction-id", {"churned": True, "prediction_id": "a" * 65}, field="prediction_id"),
    label("long-customer-id", {"churned": True, "customer_id": "a" * 129}, field="customer_id"),
    label("number-id", {"churned": True, "customer_id": 5}, field="customer_id"),
    label("nul-id", '{"churned": true, "customer_id": "a\\u0000"}', field="customer_id"),
    label("surrogate-id", '{"churned": true, "customer_id": "\\udfff"}', field="customer_id"),
    label("surrogate-field", '{"churned": true, "customer_id": "a", "\\udfff": 1}'),
    label(
        "unknown-field", {"churned": True, "customer_id": "a", "why": SECRET}, field="why", says="why: there is no such"
    ),
    label("one-bad-of-two", [{"churned": True, "customer_id": "a"}, {"churned": SECRET}], row=2, field="churned"),
    label("thousands-bad", [{}] * 9000, row=1),
    label("empty-list", [], says="at least one"),
    label("string", '"a"'),
    label("null", "null"),
    label("10001-items", "[" + "1," * 10_000 + "1]", 413),
    label("not-json", b"churned=true", 400),
    label("deep", "[" * 5000, rule="nesting"),
]


@pytest.mark.parametrize("request_", BAD, ids=lambda request: request.id)
def test_a_bad_request_is_refused(service: tuple[Settings, TestClient], request_: Bad):
    settings, client = service
    headers = {"content-type": JSON} if request_.headers is None else request_.headers
    response = client.post(request_.path, content=request_.body, headers=headers)
    problem = assert_problem(response, request_.status)
    assert SECRET not in response.text.replace('"field": "hunter2', "")  # a field's name is repeated, no value is
    assert str(settings.root) not in response.text
    assert request_.says in response.text
    if request_.field is not None or request_.rule is not None:
        errors = problem["errors"]
        assert request_.field in (None, errors[0].get("field"))
        assert request_.rule in (None, errors[0]["rule"])
    if request_.row is not None:
        assert problem["errors"][0]["row"] == request_.row
        assert problem["detail"].startswith(f"row {request_.row}: ")


def test_no_refused_request_was_recorded(service: tuple[Settings, TestClient]):
    settings, client = service
    assert recorded(settings) == 0
    assert "churnops_labels_total 0.0" in client.get("/metrics").text
    assert client.post("/predict", json=a_customer()).status_code == 200
    assert recorded(settings) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/predictions/..%2F..%2Fetc%2Fpasswd", 404),
        ("/predictions/%2e%2e", 404),
        ("/predictions/" + "a" * 5000, 404),
        ("/predictions/%ff%fe", 404),
        ("/predictions/%00", 404),
        ("/predictions/' OR 1=1 --", 404),
        ("/predictions/", 404),
        ("/predict", 405),
        ("/predict/batch", 405),
        ("/predict/probe", 405),
        ("/predict/", 404),
        ("/labels/", 404),
        ("/model/reload", 405),
        ("/unknown", 404),
        ("/predict/..%2Fmodel/reload", 404),
        ("/" + "a" * 20_000, 404),
        ("/%E2%82%AC", 404),
        ("/static/../../config.yaml", 404),
        ("/health", 404),
    ],
)
def test_a_wrong_path_or_method_is_a_problem(service: tuple[Settings, TestClient], path: str, status: int):
    assert_problem(service[1].get(path, follow_redirects=False), status)


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_a_wrong_method_names_the_right_one(service: tuple[Settings, TestClient], method: str):
    response = service[1].request(method, "/predict")
    assert_problem(response, 405)
    assert response.headers["allow"] == "POST"


def test_made_up_methods_do_not_fill_the_metrics(service: tuple[Settings, TestClient]):
    """Each label value is kept for ever, so a client must not be able to make them up."""
    for number in range(20):
        service[1].request(f"BREW{number}", "/predict")
    assert "BREW1" not in service[1].get("/metrics").text


# Below the application: bytes on a connection to a server in a process of its own.


def http(body: bytes, path: str = "/predict", kind: str = JSON, **headers: str) -> bytes:
    """Write a POST request; its content-length is that of the body unless the headers have one."""
    named = {"host": "localhost", "content-type": kind, "content-length": str(len(body)), "connection": "close"}
    named |= {key.replace("_", "-"): value for key, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def assert_lives(server: Server):
    wait_for("the server is ready", lambda: status_of(server.send(get("/health/ready"))) == 200)


def assert_refused(server: Server, answer: bytes, *allowed: int):
    assert status_of(answer) in (allowed or (0, *range(400, 500))), answer[:300]
    assert len(answer) < 4096
    assert_lives(server)


ONE_BYTES = ONE.encode()
CHUNKED = {"content_length": "", "transfer_encoding": "chunked"}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/predict/probe", "/labels"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with-content-length", "chunked"])
def test_a_body_of_100_megabytes_is_not_kept_in_memory(server: Server, path: str, chunked: bool):
    before = server.megabytes("VmHWM")
    piece = b" " * MEGABYTE
    if chunked:
        pieces = [http(b"", path, **CHUNKED), *([b"100000\r\n" + piece + b"\r\n"] * 100), b"0\r\n\r\n"]
    else:
        pieces = [http(b"", path, content_length=str(100 * MEGABYTE)), *([piece] * 100)]
    assert_refused(server, server.send(*pieces), 0, 413)  # 0: the connection was closed while we were sending
    assert server.megabytes("VmHWM") < before + 40


def test_the_answer_to_a_body_that_is_too_large_can_be_read(server: Server):
    answer = server.send(http(b"", content_length=str(100 * MEGABYTE)))
    assert_refused(server, answer, 413)
    assert b"connection: close" in answer.lower()
    assert_refused(server, server.send(http(b"", **CHUNKED), b"20000\r\n" + b" " * 0x20000 + b"\r\n"), 413)


def test_a_slow_body_is_abandoned(impatient: Server):
    answer = impatient.send(http(b"", content_length="500"), b'{"state"')
    assert_refused(impatient, answer, 408)


def test_a_body_that_trickles_in_is_abandoned(impatient: Server):
    """The time limit holds for the whole body, not for each piece."""
    answer = impatient.send(http(b"", content_length="500"), *([b" "] * 30), pause=0.1)
    assert_refused(impatient, answer, 408, 0)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(http(ONE_BYTES, transfer_encoding="chunked"), id="length-and-chunked"),
        pytest.param(http(b"", content_length="5\r\ncontent-length: 6") + b"123456", id="two-lengths"),
        pytest.param(http(b"", content_length="-5"), id="negative-length"),
        pytest.param(http(b"", content_length="five"), id="length-in-words"),
        pytest.param(http(b"", content_length="99999999999999999999999"), id="length-beyond-64-bits"),
        pytest.param(http(b"", content_length="", transfer_encoding="gzip, identity"), id="unknown-transfer-encoding"),
        pytest.param(http(b"", **CHUNKED) + b"zz\r\nabc\r\n", id="chunk-size-is-no-number"),
        pytest.param(http(b"", **CHUNKED) + b"fffffffffffffffff\r\n", id="chunk-size-beyond-64-bits"),
        pytest.param(http(b"", **CHUNKED) + b"2\r\n{}xxxx\r\n", id="chunk-longer-than-it-says"),
        pytest.param(http(ONE_BYTES, expect="200-ok", content_type="text/plain"), id="unknown-expectation"),
        pytest.param(http(b"", content_length="100000000", expect="100-continue"), id="continue-with-a-large-body"),
        pytest.param(b"POST /predict HTTP/1.1\r\nhost: localhost\r\nx: a\x00b\r\n\r\n", id="nul-in-a-header"),
        pytest.param(b"POST /predict HTTP/1.1\r\nhost : localhost\r\n\r\n", id="space-before-colon"),
        pytest.param(b"POST /predict HTTP/9.9\r\nhost: localhost\r\n\r\n", id="http-9.9"),
        pytest.param(get("/../../etc/passwd"), id="traversal"),
        pytest.param(get("//evil.com/predict"), id="two-slashes"),
        pytest.param(get("http://evil.com/predict"), id="absolute-target"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls-hello"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http-2"),
        pytest.param(b"\xff" * 1000 + b"\r\n\r\n", id="binary"),
        pytest.param(
            b"GET /predict HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
            id="websocket",
        ),
    ],
)
def test_odd_http_is_refused_and_the_server_lives(impatient: Server, raw: bytes):
    assert_refused(impatient, impatient.send(raw, timeout=5.0))


def test_a_smuggled_request_is_not_answered(impatient: Server):
    hidden = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n"
    sent = http(b"0\r\n\r\n" + hidden, transfer_encoding="chunked", connection="keep-alive")
    assert b"churnops_http_requests" not in impatient.send(sent, timeout=3.0)
    assert_lives(impatient)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(lambda: b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ", id="one-header"),
        pytest.param(lambda: b"GET /", id="path"),
    ],
)
def test_an_endless_request_head_is_refused(server: Server, head: Callable[[], bytes]):
    before = server.megabytes("VmHWM")
    assert_refused(server, server.send(head(), *([b"a" * MEGABYTE] * 100)))
    assert server.megabytes("VmHWM") < before + 40


def test_endless_headers_are_refused(server: Server):
    before = server.megabytes("VmHWM")
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(1000))
    assert_refused(server, server.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n", *([lines] * 60)))
    assert server.megabytes("VmHWM") < before + 40


def test_continue_is_sent_only_for_a_body_that_will_be_read(server: Server):
    """If the headers suffice to refuse, the client need not send the body."""
    answer = server.send(http(b"", content_length="10", expect="100-continue"), b"x" * 10, pause=0.2)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")
    assert b"100 Continue" not in server.send(http(b"", content_length="10", expect="100-continue", content_type="a/b"))
