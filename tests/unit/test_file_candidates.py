"""Candidates of a file: those of a segment, without values of personal columns, because the journal keeps the list."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from churnops.decision.file_candidates import FileCandidates
from churnops.decision.list_request import ListRequest
from churnops.model import Bundle
from churnops.schema import Schema
from tests.support.fixture_project import PROJECTS
from tests.support.projects import LATER


def test_a_segment_has_the_rows_with_its_levels(tmp_path: Path):
    path = tmp_path / "later.csv"
    customers = pl.read_csv(LATER).with_row_index("customer_id")
    customers.write_csv(path)
    bundle = Bundle.load(next((PROJECTS[-1] / "models/versions").iterdir()))
    where = {"state": ("OH", "NY", "(other)"), "international_plan": ("Yes",)}
    pages = FileCandidates(path, bundle, None).pages(-1.0, 0.0, ListRequest(where=where).segment(bundle.schema))
    listed = [one for page in pages for one in page]
    inside = customers.filter(pl.col("State").is_in(["OH", "NY"]), pl.col("International plan") == "Yes")
    assert {one.customer_id for one in listed} == set(inside["customer_id"].cast(pl.String))
    assert len(listed) == inside.height > 0
    assert sorted(listed, key=lambda one: -one.probability) == listed


def test_a_personal_column_is_neither_value_nor_reason(tmp_path: Path):
    path = tmp_path / "later.csv"
    ids = pl.Series("customer_id", [f"c{number}" for number in range(20)])
    pl.read_csv(LATER).head(20).with_columns(ids).write_csv(path)
    bundle = Bundle.load(next((PROJECTS[-1] / "models/versions").iterdir()))
    name = next(column.name for column in bundle.schema.model_inputs if column.kind == "number")
    columns = [c.model_copy(update={"personal": c.name == name}) for c in bundle.schema.columns]
    personal = Schema.model_validate(bundle.schema.model_dump() | {"columns": columns})

    open_, closed = (FileCandidates(path, each, name) for each in (bundle, replace(bundle, schema=personal)))
    assert (open_.without_value, closed.without_value) == (0, 20)
    [page] = open_.pages(-1.0, 0.0)
    assert all(one.values for one in open_.details(page))
    assert not any(one.values for one in closed.details(page))
