"""Uploaded files of customers."""

import csv
import io
import json
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

CSV, NDJSON, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"


def to_file(kind: str, rows: list[dict[str, Any]]) -> bytes:
    if kind == NDJSON:
        return "\n".join(map(json.dumps, rows)).encode()
    table = pl.DataFrame(rows)
    file = io.BytesIO()
    if kind == CSV:
        table.write_csv(file)
    else:
        table.write_parquet(file)
    return file.getvalue()


def from_file(kind: str, content: bytes) -> list[dict[str, Any]]:
    if kind == NDJSON:
        return [json.loads(line) for line in content.splitlines()]
    if kind == PARQUET:
        return pl.read_parquet(io.BytesIO(content)).to_dicts()
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    for row in rows:
        row |= {name: float(row[name]) for name in ("churn_probability", "base_value")}
        row |= {"churn_prediction": row["churn_prediction"] == "true"}
        row |= {"top_shap_features": json.loads(row["top_shap_features"])}
    return rows


def send(client: TestClient, kind: str, content: bytes, **headers: str) -> Any:
    return client.post("/predict/batch", content=content, headers={"content-type": kind, **headers})


KINDS = pytest.mark.parametrize("kind", [CSV, NDJSON, PARQUET], ids=["csv", "ndjson", "parquet"])
