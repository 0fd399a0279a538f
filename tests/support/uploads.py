"""Uploaded files of customers."""

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


def send(client: TestClient, kind: str, content: bytes, **headers: str) -> Any:
    return client.post("/predict/batch", content=content, headers={"content-type": kind, **headers})


KINDS = pytest.mark.parametrize("kind", [CSV, NDJSON, PARQUET], ids=["csv", "ndjson", "parquet"])
