"""Request bodies that are as expensive as their size allows, for each path and format of the API."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

JSON, CSV, NDJSON = "application/json", "text/csv", "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
ONE, LIST, LABELS = "/predict", "/predict/batch", "/labels"
KIB, MIB = 2**10, 2**20
ROWS = 10_000  # `api.max_batch_rows`

Customer = Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """A form of body: its path, media type, sizes, and a function from a size and a customer to the body."""

    name: str
    path: str
    media_type: str
    sizes: Sequence[int]
    make: Callable[[int, Customer], bytes]


def _filled(size: int, piece: Callable[[int], str], before: str = "", after: str = "", limit: int = 2**40) -> bytes:
    """Return up to `limit` numbered pieces between two texts, filled up with white space to `size` bytes."""
    pieces, length, number = [before], len(before) + len(after), 0
    while number < limit and length + len(text := piece(number)) <= size:
        pieces.append(text)
        length += len(text)
        number += 1
    return ("".join(pieces).rstrip(",") + after).ljust(size).encode()


def _unknown_keys(size: int, start: str, end: str) -> bytes:
    return _filled(size, lambda i: f'"k{i}":0,', start, end)


def _rows(size: int, document: Customer, change: Callable[[int], Customer], limit: int = ROWS) -> bytes:
    """Return a list of up to 10,000 objects."""
    return _filled(size, lambda i: json.dumps({**document, **change(i)}) + ",", "[", "]", limit)


def _both_names(size: int, start: str = "[", end: str = "]") -> bytes:
    return _unknown_keys(size, start + '{"account_length":1,"Account length":1,', "}" + end)


def _wrong(customer: Customer) -> Customer:
    """Return a customer whose every field breaks a rule."""
    return {name: [] for name in customer}


def _json_lists(path: str) -> list[tuple[str, Callable[[int, Customer], bytes]]]:
    start = '{"churned":true,' if path == LABELS else "{"
    return [
        ("unknown keys in one object", lambda size, _: _unknown_keys(size, "[" + start, "}]")),
        (
            "unknown keys in each object",
            lambda size, _: _filled(size, lambda i: start + '"a":0,"b":0,"c":0,"d":0,"e":0,"f":0},', "[", "]", ROWS),
        ),
        ("[{},{},…]", lambda size, _: _filled(size, lambda _: "{},", "[", "]")),
        ("[[],[],…]", lambda size, _: _filled(size, lambda _: "[],", "[", "]")),
        ("nested to the limit", lambda size, _: _filled(size, lambda _: "[[[[[[[]]]]]]],", "[", "]")),
        ("[[[[…", lambda size, _: b"[" * size),
        ("numbers in a list", lambda size, _: _filled(size, lambda _: "1,", "[[", "]]")),
        ("one string", lambda size, _: b'[{"customer_id":"' + b"x" * (size - 22) + b'"}]'),
        ("escapes", lambda size, _: _filled(size, lambda _: "\\u0041", '[{"customer_id":"', '"}]')),
        ("one number", lambda size, _: b'[{"customer_id":' + b"1" * (size - 20) + b"}]"),
    ]


def _json_forms() -> list[Form]:
    lists = (64 * KIB, 512 * KIB, 2 * MIB, 8 * MIB)
    ones = (4 * KIB, 16 * KIB, 64 * KIB)
    label = {"customer_id": "", "churned": True}
    forms = [Form(name, path, JSON, lists, make) for path in (LIST, LABELS) for name, make in _json_lists(path)]
    forms += [
        Form("a column under both names", ONE, JSON, ones, lambda size, _: _both_names(size, "", "")),
        Form("unknown keys", ONE, JSON, ones, lambda size, _: _unknown_keys(size, "{", "}")),
        Form("[[[[…", ONE, JSON, ones, lambda size, _: b"[" * size),
        Form("one string", ONE, JSON, ones, lambda size, _: b'{"customer_id":"' + b"x" * (size - 18) + b'"}'),
        Form("a column under both names", LIST, JSON, lists, lambda size, _: _both_names(size)),
        Form("customers", LIST, JSON, lists, lambda size, c: _rows(size, c, lambda i: {"customer_id": f"{i:0100d}"})),
        Form("customers who break every rule", LIST, JSON, lists, lambda size, c: _rows(size, _wrong(c), lambda _: {})),
        Form(
            "customers, of whom the last breaks a rule",
            LIST,
            JSON,
            lists,
            lambda size, c: _rows(size - 3, c, lambda _: {}, ROWS - 1).rstrip()[:-1] + b",{}]",
        ),
        Form(
            "labels of unknown customers",
            LABELS,
            JSON,
            lists,
            lambda size, _: _rows(size, label, lambda i: {"customer_id": f"{i:0120d}"}),
        ),
        Form(
            "labels of unknown predictions",
            LABELS,
            JSON,
            lists,
            lambda size, _: _rows(size, {"churned": True}, lambda i: {"prediction_id": f"{i:036d}"}),
        ),
    ]
    return forms


def _csv(size: int, customer: Customer, row: Callable[[int], Customer]) -> bytes:
    return _filled(size, lambda i: ",".join(map(str, row(i).values())) + "\n", ",".join(customer) + "\n").rstrip(b" ")


def _ndjson(size: int, line: Callable[[int], str]) -> bytes:
    return _filled(size, lambda i: line(i) + "\n").rstrip(b" ")


def _wide(size: int, columns: int) -> bytes:
    header = ",".join(f"c{i}" for i in range(columns)) + "\n"
    return _filled(size, lambda _: "0," * (columns - 1) + "0\n", header).rstrip(b" ")


def _parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def _customers_table(customer: Customer, rows: int) -> pa.Table:
    once = pa.array(np.zeros(rows, np.int32))
    return pa.table({name: pa.DictionaryArray.from_arrays(once, [value]) for name, value in customer.items()})


def _upload_forms() -> list[Form]:
    sizes = (1 * MIB, 4 * MIB, 16 * MIB)
    csv: list[tuple[str, Callable[[int, Customer], bytes]]] = [
        ("customers", lambda size, c: _csv(size, c, lambda _: c)),
        ("customers who break every rule", lambda size, c: _csv(size, c, lambda _: dict.fromkeys(c, "?"))),
        ("9,999 columns", lambda size, _: _wide(size, 9_999)),
        ("as many columns as fit", lambda size, _: _filled(size, lambda i: f"c{i},").rstrip(b" ") + b"\n0"),
        ("one name for all columns", lambda size, _: _filled(size, lambda _: "state,").rstrip(b" ") + b"\n0"),
        ("one cell", lambda size, _: b'state\n"' + b"x" * (size - 8) + b'"'),
        ("line ends in one cell", lambda size, _: b'state\n"' + b"\n" * (size - 8) + b'"'),
        ("blank lines", lambda size, c: ",".join(c).encode() + b"\n" * size),
    ]
    ndjson: list[tuple[str, Callable[[int, Customer], bytes]]] = [
        ("customers", lambda size, c: _ndjson(size, lambda _: json.dumps(dict(c)))),
        ("customers who break every rule", lambda size, c: _ndjson(size, lambda _: json.dumps(_wrong(c)))),
        ("one line", lambda size, _: _unknown_keys(size, "{", "}")),
        ("longest lines", lambda size, _: _ndjson(size, lambda _: '{"state":"' + "x" * 65_000 + '"}')),
        ("blank lines", lambda size, _: b"\n" * size),
    ]
    parquet: list[tuple[str, Callable[[int, Customer], bytes]]] = [
        ("customers, a row for each 64 bytes", lambda size, c: _parquet(_customers_table(c, min(size // 64, 10**6)))),
        (
            "metadata",
            lambda size, c: _parquet(_customers_table(c, 10).replace_schema_metadata({"k": "x" * size})),
        ),
        (
            "a column for each 200 bytes",
            lambda size, _: _parquet(pa.table({f"c{i}": pa.array([0]) for i in range(size // 200)})),
        ),
        (
            "one long id for all rows, a row for each 64 bytes",
            lambda size, c: _parquet(_customers_table({**c, "customer_id": "x" * 120}, min(size // 64, 10**6))),
        ),
        (
            "an unknown column of one string of 10,000 bytes, a row for each 64 bytes",
            lambda size, c: _parquet(_customers_table({**c, "note": "x" * 10_000}, min(size // 64, 10**6))),
        ),
    ]
    kinds = ((CSV, csv), (NDJSON, ndjson), (PARQUET, parquet))
    return [Form(name, LIST, kind, sizes, make) for kind, forms in kinds for name, make in forms]


FORMS = (*_json_forms(), *_upload_forms())
