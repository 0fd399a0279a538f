"""Simulated production on the telecom table, the report's recipe, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from churnops.cli import main
from churnops.data.groups import column_groups
from churnops.data.read import encode, outcomes
from churnops.data.simulate import Drift, simulate
from churnops.errors import DataError
from churnops.schema import SIMULATED, Column, Schema
from churnops.settings import Settings
from tests.support.projects import write_project, write_small_data


@pytest.fixture(scope="module")
def customers(telecom: pl.DataFrame, settings: Settings) -> dict[str, Any]:
    schema = settings.table
    return {"columns": encode(telecom, schema), "outcome": outcomes(telecom, schema), "schema": schema}


def test_charges_follow_the_minutes_and_nothing_else_moves(customers: dict[str, Any]):
    drift = Drift(covariate=0.5, columns=("total_day_minutes",))
    made = simulate(**customers, drift=drift, rows=1000, seed=3)
    plain = simulate(**customers, drift=Drift(), rows=1000, seed=3)
    moved = {name for name, values in plain.columns.items() if not np.array_equal(values, made.columns[name])}
    assert moved == {"total_day_minutes", "total_day_charge"}
    assert np.abs(made.columns["total_day_charge"] - 0.17 * made.columns["total_day_minutes"]).max() < 0.02
    assert np.array_equal(np.round(made.columns["total_day_minutes"], 1), made.columns["total_day_minutes"])
    assert "total_day_minutes shifted by 0.5 standard deviations" in made.description


def test_the_recipe_adds_noise_and_flips_few_outcomes(customers: dict[str, Any]):
    report = ("total_day_minutes", "customer_service_calls", "total_intl_minutes")
    made = simulate(**customers, drift=Drift(recipe=True, noisy=report), rows=2000, seed=3)
    plain = simulate(**customers, drift=Drift(), rows=2000, seed=3)
    assert 0.02 <= (made.outcome != plain.outcome).mean() <= 0.05
    for name in report:
        noise = made.columns[name] - plain.columns[name]
        assert 0 < np.abs(noise).max() < customers["columns"][name].std()
        assert abs(noise.mean()) < 0.05 * customers["columns"][name].std()
    assert np.abs(made.columns["total_day_charge"] - 0.17 * made.columns["total_day_minutes"]).max() < 0.02
    moved = {name for name, values in plain.columns.items() if not np.array_equal(values, made.columns[name])}
    assert moved == {*report, "total_day_charge", "total_intl_charge"}


def test_the_recipe_takes_another_tables_most_informative_numbers(rng: np.random.Generator):
    kinds = dict.fromkeys("abcd", "number")
    columns = [Column(name=name, kind=kind) for name, kind in kinds.items()]
    schema = Schema(columns=(*columns, Column(name="left", kind="target", choices=("n", "y"))))
    outcome = rng.integers(0, 2, 400) * 1.0
    table = {
        name: np.round(rng.normal(size=400) + size * outcome, 2)
        for name, size in zip("abcd", (0, 3, 1, 2), strict=True)
    }
    made = simulate(table, outcome, schema, Drift(recipe=True, noisy=("minutes",)), rows=400, seed=0)
    assert "noise on b, d, c; " in made.description
    some = simulate(table, outcome, schema, Drift(recipe=True, noisy=("a", "minutes")), rows=400, seed=0)
    assert "noise on a (the table has no number minutes); " in some.description


@pytest.mark.parametrize("size", [0.5, -0.5, 1.0])
def test_nobody_without_a_plan_sends_messages(customers: dict[str, Any], size: float):
    table = customers["columns"]
    made = simulate(**customers, drift=Drift(covariate=size), rows=1500, seed=3)
    plain = simulate(**customers, drift=Drift(), rows=1500, seed=3)
    columns = made.columns
    assert np.array_equal(columns["number_vmail_messages"] == 0, columns["voice_mail_plan"] == 0)
    for name, column in customers["schema"].by_name.items():
        if name in columns:
            assert set(columns[name].tolist()) <= set(table[name].tolist())  # no value is made up
            if column.numeric:
                moved = (columns[name].mean() - plain.columns[name].mean()) / table[name].std()
                assert moved == pytest.approx(size, abs=0.06)
    assert np.array_equal(made.outcome, plain.outcome)
    assert "no customers" not in made.description


def test_a_shift_without_enough_customers_reports_how_far_it_went(customers: dict[str, Any]):
    made = simulate(**customers, drift=Drift(covariate=5.0, columns=("total_day_minutes",)), rows=1500, seed=3)
    assert "total_day_minutes shifted by 5 standard deviations; the shift is smaller for " in made.description
    assert np.unique(made.columns["total_day_minutes"]).size > 50  # no crowd of twins


def test_groups_of_the_telecom_table_are_its_plans_and_charges(customers: dict[str, Any]):
    numbers = [column.name for column in customers["schema"].inputs if column.numeric]
    groups = {group for group in column_groups(customers["columns"], numbers) if len(group) > 1}
    parts = ("day", "eve", "night", "intl")
    assert groups == {
        ("voice_mail_plan", "number_vmail_messages"),
        *((f"total_{part}_minutes", f"total_{part}_charge") for part in parts),
    }


def test_more_customers_than_the_table_has_are_drawn_again(customers: dict[str, Any]):
    made = simulate(**customers, drift=Drift(), rows=5000, seed=3)
    assert all(values.size == 5000 for values in made.columns.values())
    assert made.outcome.size == 5000


@pytest.mark.parametrize(
    ("drift", "rows", "message"),
    [
        (
            Drift(covariate=1, columns=("total_day_charge",)),
            5,
            "total_day_minutes determines column total_day_charge: shift",
        ),
        (Drift(covariate=1, columns=("total_day_minuts",)), 5, "did you mean 'total_day_minutes'"),
        (Drift(covariate=1, columns=("state",)), 5, "no number or integer 'state'"),
        (Drift(covariate=float("nan")), 5, "give a finite number of standard deviations"),
        (Drift(prior=1.5), 5, "prior 1.5 is not a churn rate"),
        (Drift(concept=-0.1), 5, "concept -0.1 is not a share"),
        (
            Drift(columns=("total_day_minutes",)),
            5,
            "the size of the shift of total_day_minutes is missing: give --covariate",
        ),
        (Drift(), 0, "at least 1"),
    ],
)
def test_an_impossible_simulation_is_refused_in_one_line(
    customers: dict[str, Any], drift: Drift, rows: int, message: str
):
    with pytest.raises(DataError, match=message) as raised:
        simulate(**customers, drift=drift, rows=rows, seed=0)
    assert "\n" not in str(raised.value)


def test_a_churn_rate_needs_customers_of_that_outcome(customers: dict[str, Any]):
    customers = customers | {"outcome": np.zeros(customers["outcome"].size)}
    with pytest.raises(DataError, match="needs customers who churned: the table has none"):
        simulate(**customers, drift=Drift(prior=0.2), rows=10, seed=0)
    assert simulate(**customers, drift=Drift(prior=0.0), rows=10, seed=0).outcome.sum() == 0


def test_outcomes_are_permuted_where_they_are_known_and_counted(customers: dict[str, Any]):
    known = customers["outcome"].copy()
    known[40:] = np.nan
    made = simulate(**customers | {"outcome": known}, drift=Drift(concept=0.5), rows=known.size, seed=0)
    assert "; 20 outcomes permuted (50% of the known outcomes); " in made.description
    nobody = customers | {"outcome": np.full(known.size, np.nan)}
    with pytest.raises(DataError, match="needs known outcomes: draw from a table with outcomes"):
        simulate(**nobody, drift=Drift(concept=0.5), rows=10, seed=0)
    assert np.isnan(simulate(**nobody, drift=Drift(), rows=10, seed=0).outcome).all()


def test_the_command_writes_a_whole_table_like_its_source_or_nothing(tmp_path: Path):
    write_small_data(tmp_path)
    config, out = write_project(tmp_path), tmp_path / "out.csv"

    def run(*words: str) -> str:
        done = CliRunner().invoke(main, ["--config", str(config), "simulate", *words], catch_exceptions=False)
        assert done.exit_code == (2 if "error: " in done.output else 0)
        return done.output

    said = run(str(out), "--rows", "40", "--prior", "0.25", "--seed", "1")
    assert said.endswith(": 40 customers drawn from 500; churn rate 0.25; seed 1\n")
    table, source = pl.read_csv(out), pl.read_csv(tmp_path / "data/production/churn-later.csv")
    assert table.columns == [*source.columns, SIMULATED]
    assert table.get_column("Churn").sum() == 10
    assert table.get_column(SIMULATED).all()
    kept = out.read_bytes()
    assert "exists already" in run(str(out), "--rows", "5")
    assert "exists already" in run(str(out), "--source", str(out), "--force")
    assert "did you mean 'total_day_minutes'" in run(
        str(out), "--force", "--covariate", "1", "--column", "total_day_minuts"
    )
    assert "must end in .csv or .parquet" in run(str(tmp_path / "out.xlsx"))
    assert out.read_bytes() == kept
    run(str(tmp_path / "again.parquet"), "--source", str(out), "--rows", "40", "--seed", "2")
    again = pl.read_parquet(tmp_path / "again.parquet")
    assert again.columns == table.columns
    assert again.get_column(SIMULATED).all()
    assert not list(tmp_path.glob(".*"))
