"""Tables as people have them: a config.yaml is written with which steps 1 to 4 accept them, without an edit."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from churnops.data.merge import merge
from churnops.data.preprocess import preprocess
from churnops.data.read import encode, outcomes, table_paths
from churnops.data.validate import validate_data
from churnops.discovery.discover import discover
from churnops.discovery.write import write_config
from churnops.settings import Settings, load_settings
from churnops.training.select import select_features
from tests.support.dirty_tables import INPUTS, ROWS, TABLES, customers, signups, write_table


def described(path: Path, folder: Path) -> Settings:
    return load_settings(write_config(discover(table_paths([path]), "Churn"), [path], folder, force=False))


@pytest.mark.parametrize("name", TABLES)
def test_a_described_table_can_be_trained_on(tmp_path: Path, name: str):
    settings = described(write_table(name, tmp_path), tmp_path / "project")
    paths = [settings.path(path) for path in settings.data.raw]
    validated = validate_data(paths, [], settings.table, max_broken_rows=settings.data.max_broken_rows)
    table = merge(validated.raw, settings.table).table
    columns, churned = encode(table, settings.table), outcomes(table, settings.table) == 1.0
    dated = name.startswith("dates")
    assert {column.name for column in settings.table.model_inputs} == INPUTS | ({"since"} if dated else set())
    if dated:
        assert sorted(columns["since"]) == sorted((day - date(1970, 1, 1)).days for day in signups())
    if name == "total-row.csv":
        assert "1 of 401 rows left out" in validated.skipped.rows["raw/total-row.csv"]
    if name == "no-outcome.csv":
        assert table.height == ROWS - 8
        assert "8 of 400 rows left out" in validated.skipped.rows["raw/no-outcome.csv"]
    elif name != "repeated-rows.csv":
        assert table.height == ROWS
        assert int(churned.sum()) == customers()["Churn"].count("Yes")
    inputs = settings.table.model_inputs
    prepared = preprocess(columns, churned, inputs, sha256="0" * 64, held_out=0.2, seed=1)
    assert select_features(prepared, settings.table, settings.features).build.selected


@pytest.mark.parametrize("name", ["decimal-commas.csv", "thousands.csv", "points-and-commas.csv"])
def test_marked_numbers_are_read_exactly(tmp_path: Path, name: str):
    settings = described(write_table(name, tmp_path), tmp_path / "project")
    table = merge(validate_data([tmp_path / name], [], settings.table).raw, settings.table).table
    expected = sorted(round(value * 1234, 2) for value in customers()["MonthlyCharges"])
    assert np.allclose(sorted(table.get_column("monthly_charges")), expected, atol=0.0051)


def test_the_written_text_explains_each_setting_and_column(tmp_path: Path):
    settings = described(write_table("dates.csv", tmp_path), tmp_path / "project")
    text = (tmp_path / "project/config.yaml").read_text()
    assert settings.features.derived == ()
    assert settings.data.production == ()
    assert settings.evaluation.threshold == "auto"
    assert settings.monitoring.performance_threshold is None
    assert "{name: since, alias: Since, kind: date}" in text
    keys = re.findall(r"^  \w+: .*$", text.partition("\nschema:")[0], re.MULTILINE)
    assert [key for key in keys if "#" not in key] == ["  derived: []"]
