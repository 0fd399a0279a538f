"""Every JSON body costs time and memory in proportion to its size: it is counted before it is built."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from churnops.api import customers, items, labels, strict_json
from churnops.api.customers import CustomerForm
from churnops.api.problems import Problem
from churnops.api.strict_json import MAX_DEPTH, parse_json, parse_list
from churnops.api.work import at_once
from churnops.limits import MAX_ERRORS
from churnops.schema import Column, Schema
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem

MIB = 2**20
NUMBERS = Column(name="x", kind="number")
TARGET = Column(name="churn", kind="target", choices=("no", "yes"))


def size(value: Any) -> int:
    """Count members and elements at all depths, an empty container as one."""
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return max(len(value), 1) + sum(size(item) for item in inside)
    return 0


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(documents, min_size=1, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_parsed_as_json_parses_it(items: list[Any], indent: int | None, ascii: bool):
    body = json.dumps(items, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    try:
        expected = strict_json._decoder.decode(body.decode())
    except UnicodeDecodeError:
        return
    assert list(parse_list(body, len(items), 1000)) == expected
    assert parse_json(body, 1000) == expected
    with pytest.raises(Problem) as caught:
        parse_list(body, len(items) - 1, 1000)
    assert caught.value.status == 413


@given(documents)
def test_the_number_of_values_is_limited(document: Any):
    body, values = json.dumps(document).encode(), size(document)
    assert parse_json(body, values) == document
    if values:
        with pytest.raises(Problem, match="more than") as caught:
            parse_json(body, values - 1)
        assert caught.value.errors[0].rule == "size"
        with pytest.raises(Problem, match="row 1: an object has more than"):
            list(parse_list(b"[" + body + b"]", 1, values - 1))


@given(st.text(alphabet='[]{}",:1 \\na', max_size=12))
def test_invalid_json_is_refused_by_both_parsers(text: str):
    body = text.encode()
    try:
        expected = strict_json._decoder.decode(text)
    except (ValueError, Problem):
        with pytest.raises(Problem):
            parse_json(body, 1000)
        with pytest.raises(Problem):
            list(parse_list(body, 1000, 1000))
    else:
        assert parse_json(body, 1000) == expected


keys = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a:b"', '"\\ud800"', "a", "1"])
odd = st.sampled_from(
    ["-0", "01", "1.", "1E400", "-1e-400", "5e-324", "NaN", "-Infinity", "9" * 25, "9" * 4400, '"\x01"']
)
plain = st.floats().map(repr) | st.integers().map(str) | st.text(max_size=5).map(json.dumps) | keys


@given(st.lists(st.tuples(keys, plain | odd), max_size=3))
def test_an_object_has_the_values_that_the_json_module_reads(members: list[tuple[str, str]]):
    text = "{" + ",".join(f"{key}:{value}" for key, value in members) + "}"
    try:
        expected = strict_json._decoder.decode(text)
    except (ValueError, Problem):
        with pytest.raises(Problem):
            parse_json(text.encode(), 1000)
    else:
        assert repr(parse_json(text.encode(), 1000)) == repr(expected)  # tells 1 from 1.0, and the zeros apart


def test_the_place_of_a_fault_is_that_in_the_whole_body():
    with pytest.raises(Problem, match="Expecting value at line 2, column 7"):
        list(parse_list('[{"é": "ü"},\n {"é":x}]'.encode(), 9, 9))
    with pytest.raises(Problem, match="Extra data at line 1, column 5"):
        list(parse_list(b"[1] ,", 9, 9))
    with pytest.raises(Problem, match="Expecting ',' delimiter at line 1, column 3"):
        list(parse_list(b"[1}", 9, 9))


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_nesting_is_bounded(depth: int):
    body = b"[" * depth + b"]" * depth
    for parse in (lambda: parse_json(body, 100), lambda: list(parse_list(body, 1, 100))):
        if depth <= MAX_DEPTH:
            parse()
        else:
            with pytest.raises(Problem, match="more than 8 levels"):
                parse()


def worst(count: int) -> dict[str, bytes]:
    """Bodies of about 12 bytes times `count` that are expensive to parse whole."""
    keys = b",".join(b'"k%07d":1' % number for number in range(count))
    return {
        "lists": b"[" + b"[]," * 4 * count + b"[]]",
        "objects": b"[" + b"{}," * 4 * count + b"{}]",
        "keys-of-one": b"{" + keys + b"}",
        "keys-in-a-list": b"[{" + keys + b"}]",
        "numbers": b"[" + b"1," * 6 * count + b"1]",
        "nested-numbers": b"[[" + b"1," * 6 * count + b"1]]",
        "open-objects": b'{"a":' * 2 * count,
        "open-lists": b"[" * 12 * count,
        "one-text": b'["' + b"x" * 12 * count + b'"]',
        "escapes": b'["' + rb"\u0041" * 2 * count + b'"]',
        "open-text": b'["' + b"[" * 12 * count,
        "long-key": b'[{"' + b"x" * 12 * count + b'":1}]',
        "digits": b"[1." + b"1" * 12 * count + b"]",
        "spaces": b" " * 12 * count,
    }


@pytest.fixture(scope="module")
def form(settings: Settings) -> CustomerForm:
    return CustomerForm(settings.table)


@pytest.mark.parametrize("name", list(worst(1)))
@pytest.mark.parametrize("read", ["customer", "customers", "labels"])
def test_memory_is_a_small_multiple_of_the_body(form: CustomerForm, read: str, name: str):
    body = worst(40_000)[name]
    readers: dict[str, Callable[[], object]] = {
        "customer": lambda: form.read(parse_json(body, form.max_values)),
        "customers": lambda: at_once(form.read_list(body, 10_000)),
        "labels": lambda: at_once(labels.read_labels(body, 10_000)),
    }
    tracemalloc.start()
    with pytest.raises(Problem):
        readers[read]()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * len(body) + MIB


class Counting(str):
    """Text that counts how often it is compared or hashed."""

    work = 0

    def __eq__(self, other: object) -> bool:
        Counting.work += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Counting.work += 1
        return str.__hash__(self)


def wide(columns: int) -> Schema:
    return Schema(columns=(*(Column(name=f"c{i}", kind="number", alias=f"C {i}") for i in range(columns)), TARGET))


def work(columns: int) -> int:
    """Return the number of comparisons for a customer with one column under both its names and unknown fields."""
    form = CustomerForm(wide(columns))
    document = {Counting(f"u{i}"): 1 for i in range(columns)} | {Counting("c0"): 1, Counting("C 0"): 1}
    Counting.work = 0
    with pytest.raises(Problem, match="given twice"):
        form.read(document)
    return Counting.work


def test_a_column_under_both_names_costs_in_proportion_to_the_fields():
    assert work(400) < 3 * work(200)


def test_an_object_has_at_most_twice_the_fields(form: CustomerForm):
    limit = form.max_values
    assert limit == 2 * (len(form.schema.columns) - 1)  # the target is no field
    for fields, rule in ((limit, "required"), (limit + 1, "size")):
        body = json.dumps({f"k{i}": 1 for i in range(fields)}).encode()
        with pytest.raises(Problem) as one:
            form.read(parse_json(body, limit))
        with pytest.raises(Problem) as listed:
            at_once(form.read_list(b"[" + body + b"]", 1))
        assert one.value.errors[0].rule == listed.value.errors[0].rule == rule


def test_no_more_errors_are_made_than_are_shown(form: CustomerForm, monkeypatch: pytest.MonkeyPatch):
    made: list[object] = []

    def counted(error: type) -> Callable[..., Any]:
        return lambda **values: made.append(values) or error(**values)

    monkeypatch.setattr(customers, "FieldError", counted(customers.FieldError))
    monkeypatch.setattr(items, "FieldError", counted(items.FieldError))
    bad = json.dumps([{"x": 1}] * 5000).encode()
    for read in (lambda: at_once(form.read_list(bad, 10_000)), lambda: at_once(labels.read_labels(bad, 10_000))):
        made.clear()
        with pytest.raises(Problem) as caught:
            read()
        assert 0 < len(made) <= MAX_ERRORS
        assert len(caught.value.errors) == len(made)


@pytest.mark.parametrize("path", ["/predict/batch", "/labels", "/predict/probe"])
def test_items_are_counted_before_any_is_read(client: TestClient, path: str):
    limit = 64 if path == "/predict/probe" else 10_000
    assert_problem(
        client.post(path, content=b"[" + b"{}," * limit + b"{}]", headers={"content-type": "application/json"}), 413
    )
    problem = assert_problem(client.post(path, json=[{}] * limit), 422)
    assert problem["errors"][0]["row"] == 1


def test_a_customer_in_a_list_is_bounded_as_a_single_one(client: TestClient):
    many = a_customer(**{f"k{i}": 1 for i in range(60)})
    line = json.dumps(many)
    for kind, body, row in (
        ("application/json", f"[{line}]", "row 1: "),
        ("application/x-ndjson", f"{json.dumps(a_customer())}\n{line}", "row 2: "),
    ):
        problem = assert_problem(client.post("/predict/batch", content=body, headers={"content-type": kind}), 422)
        assert problem["detail"] == f"{row}an object has more than 40 values"
    assert assert_problem(client.post("/predict", json=many), 422)["errors"][0]["rule"] == "size"
