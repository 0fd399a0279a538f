"""Exposures of a scored file: the ids are those by which the arms were assigned."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from churnops.experiments.scored_files import record_exposures
from churnops.journal.exposures import Exposure
from churnops.schema import Column, Schema
from tests.support.experiments import an_experiment

SCHEMA = Schema(
    columns=(
        Column(name="plan", kind="flag", choices=("no", "yes")),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)


@pytest.mark.parametrize(
    ("name", "written", "ids"),
    [("a.parquet", [1.0, None, 2.0], ["1", "2"]), ("a.csv", ["'=C-1", None, "-5"], ["=C-1", "-5"])],
)
def test_ids_are_those_of_the_assignment(tmp_path: Path, name: str, written: list[Any], ids: list[str]):
    table = pl.DataFrame({"customer_id": written, "experiment_arm": "challenger", "model_version": "tree"})
    table.write_parquet(tmp_path / name) if name.endswith("parquet") else table.write_csv(tmp_path / name)
    recorded: list[Exposure] = []
    project: Any = SimpleNamespace(
        settings=SimpleNamespace(safe_csv=True), exposures=SimpleNamespace(write=recorded.extend)
    )
    assert record_exposures(project, an_experiment(), tmp_path / name, SCHEMA, (tmp_path / name).suffix) == 2
    assert [exposure.customer_id for exposure in recorded] == ids
