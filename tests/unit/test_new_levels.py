"""Customers whose levels are new since training: monitoring counts and names them, and is never refused."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from churnops.alerting.alarms import alarms
from churnops.data.profile import ColumnProfile
from churnops.data.read import read_table
from churnops.data.unexpected_cells import CellCount, UnexpectedCells
from churnops.journal import open_database
from churnops.journal.cycles import CycleLog
from churnops.monitoring import ModelMonitor, Report
from churnops.monitoring.cautions import Caution
from churnops.monitoring.collect import batch_from_table
from churnops.monitoring.drift import rarity_test
from churnops.monitoring.new_levels import new_levels
from churnops.schema import Column
from churnops.settings import Settings
from churnops.training.train import TrainedModels
from tests.support.projects import LATER

CITY = Column(name="city", kind="category", choices=tuple(map(str, range(200))))
SEEN = np.repeat(np.arange(200.0), 10)


def caution(batch: np.ndarray, reference: np.ndarray = SEEN, metrics: dict[str, Any] | None = None) -> Caution:
    profile = ColumnProfile.fit(reference)
    model = SimpleNamespace(
        schema=SimpleNamespace(by_name={"city": CITY}), reference={"city": profile}, metrics=metrics or {}
    )
    features = SimpleNamespace(columns=[SimpleNamespace(name="city", kind="category")])
    unknown = UnexpectedCells(batch.size, {"city": CellCount(1, ("Gold+", "Platin"), 1)})
    return new_levels(model, {"city": profile.count(batch)}, unknown, features, 0.01)


def mixed(new: int, rows: int = 1000) -> np.ndarray:
    return np.append(np.resize(SEEN, rows - new), np.full(new, CITY.other))


def test_a_share_of_new_levels_is_an_alert_with_examples():
    assert caution(mixed(120)) == Caution(
        "unknown_levels",
        "warning",
        True,
        True,
        "12% of the customers have a level of City that is new since training: 'Gold+', 'Platin', …",
    )


@pytest.mark.parametrize(
    ("batch", "reference", "metrics"),
    [
        (mixed(0), SEEN, {}),
        (mixed(49), SEEN, {}),
        (mixed(120), SEEN, {"unseen_levels": {"city": 0.1}}),
        (mixed(120), mixed(110), {}),
        (mixed(600), SEEN, {}),  # at least half: the column is broken
    ],
)
def test_a_usual_share_is_none(batch: np.ndarray, reference: np.ndarray, metrics: dict[str, Any]):
    assert caution(batch, reference, metrics).fired is False


def test_more_unknown_levels_than_in_the_training_table_are_an_alert():
    assert caution(mixed(200), mixed(20)).fired


def test_trained_levels_that_recent_customers_lack_are_not_new():
    recent = np.append(np.repeat(np.arange(150.0), 10), np.full(150, CITY.other))
    assert caution(mixed(100), recent).fired is False
    assert caution(mixed(200), recent).fired


def test_few_customers_are_no_evidence():
    assert caution(mixed(5, 29)).fired is None


def test_a_share_that_moves_into_other_is_seen_by_the_rarity_test():
    for reference in (np.repeat(SEEN, 5), np.append(np.repeat(SEEN, 5), np.full(100, CITY.other))):
        profile = ColumnProfile.fit(reference)
        assert rarity_test(profile, profile.count(mixed(200, 2000))).p_value < 1e-6
        assert rarity_test(profile, profile.count(mixed(20, 2000))).p_value > 0.01


@pytest.fixture
def check(settings: Settings, trained: TrainedModels) -> Callable[[pl.DataFrame], Report]:
    def run(table: pl.DataFrame) -> Report:
        engine = open_database("sqlite:///:memory:")
        batch = batch_from_table(table, trained.refit, "later.csv")
        try:
            return ModelMonitor(settings, CycleLog(engine)).check_batch(trained.refit, batch)
        finally:
            engine.dispose()

    return run


def with_states(table: pl.DataFrame, share: float) -> pl.DataFrame:
    rows = pl.int_range(pl.len()) < share * table.height
    return table.with_columns(pl.when(rows).then(pl.lit("Puerto Rico")).otherwise("State").alias("State"))


def test_a_file_with_new_levels_is_monitored(check: Callable[[pl.DataFrame], Report], settings: Settings):
    table = read_table(LATER, settings.table)
    report = check(with_states(table, 0.12))
    words = "12% of the customers have a level of State that is new since training: 'Puerto Rico', …"
    assert [(c.name, c.reason) for c in report.cautions if c.fired] == [("unknown_levels", words)]
    (alarm,) = alarms(replace(report, acts_as="weekly"), "")[0]
    assert (alarm.title, alarm.facts[0]) == ("Customers have new levels", f"{words}.")
    assert report.to_json()["cautions"][2]["name"] == "unknown_levels"
    state = next(column for column in report.feature_drift.columns if column.name == "state")
    assert state.drifted
    clean = check(table)
    assert not any(c.fired for c in clean.cautions)


def test_a_batch_full_of_new_levels_is_monitored(check: Callable[[pl.DataFrame], Report], settings: Settings):
    report = check(with_states(read_table(LATER, settings.table), 1.0))
    assert [c.name for c in report.cautions if c.fired] == ["broken_columns"]
    assert report.rows == 1667
