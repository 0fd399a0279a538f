"""Old predictions are removed with their labels; whatever monitoring and retraining read stays."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, func, select

from churnops.cli import main
from churnops.errors import JournalError
from churnops.journal import Journal, Label, PredictionRow, open_database
from churnops.journal import prune as module
from churnops.journal.online_rows import NewRow, write_online_rows
from churnops.journal.partitions import make_partitions, months
from churnops.journal.predictions import write_predictions
from churnops.journal.prune import count_older, prune
from churnops.journal.shadow_scores import ShadowScore, ShadowScores
from churnops.journal.tables import labels, microseconds, predictions, shadow_scores
from tests.support.experiments import start_experiment
from tests.support.journals import DAY, HORIZON, LASTING, POSTGRESQL, START, a_prediction
from tests.support.projects import write_project


def recorded(engine: Engine, days: Sequence[int]) -> list[PredictionRow]:
    """Record predictions from `START` on, each with a label of its own, and a label for their customer."""
    rows = [a_prediction(START + day * DAY) for day in days]
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            make_partitions(connection, months(START, START + 50 * DAY))  # later days are in the default partition
    write_predictions(engine, rows)
    given = [Label(True, prediction_id=row.id) for row in rows]
    Journal(engine, label_horizon=HORIZON).record_labels([*given, Label(True, customer_id="c1")])
    return rows


def left(engine: Engine) -> tuple[set[str], int]:
    with engine.connect() as connection:
        ids = set(connection.execute(select(predictions.c.id)).scalars())
        return ids, connection.execute(select(func.count()).select_from(labels)).scalar_one()


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_predictions_before_a_time_go_with_their_labels(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PART", 3)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    rows = recorded(engine, [*range(40), 80, 100])
    before = START + 35 * DAY
    experiment = start_experiment(engine).id
    ShadowScores(engine).write([ShadowScore(row.id, experiment, microseconds(row.at), "c1", 0.4, 0.5) for row in rows])
    assert count_older(engine, before)[:2] == (35, 35)
    assert len(left(engine)[0]) == 42
    assert prune(engine, before)[:2] == (35, 35)
    assert left(engine) == ({row.id for row in rows[35:]}, 8)
    assert prune(engine, before)[:2] == (0, 0)
    assert prune(engine, START + 90 * DAY)[:2] == (6, 6)
    assert left(engine) == ({rows[-1].id}, 2)
    with engine.connect() as connection:
        assert connection.execute(select(shadow_scores.c.id)).scalars().all() == [rows[-1].id]
    write_predictions(engine, [a_prediction(START)])  # a month that is gone: the row is kept all the same
    assert len(left(engine)[0]) == 2


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
def test_a_month_in_use_is_left_and_writers_do_not_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_ATTEMPTS", 2)
    recorded(engine, range(40))
    with engine.connect() as reader:
        reader.execute(select(predictions)).all()
        with pytest.raises(JournalError, match="predictions_2026_01 stays locked"):
            prune(engine, START + 35 * DAY)
        write_predictions(engine, [a_prediction(START + 40 * DAY)])
    assert prune(engine, START + 35 * DAY).predictions == 35
    assert len(left(engine)[0]) == 6


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_freed_bytes_are_those_of_the_removed_rows(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    recorded(engine, [1] * 3_000)
    assert 300_000 < prune(engine, START + 60 * DAY).freed < 3_000_000


@pytest.mark.parametrize(("age", "named"), [("364d", "retraining.history_days"), ("20h", "365d or more")])
def test_an_age_that_is_still_read_is_refused(tmp_path: Path, age: str, named: str):
    config = str(write_project(tmp_path))
    result = CliRunner().invoke(main, ["--config", config, "journal", "prune", "--older-than", age, "--yes"])
    assert result.exit_code != 0
    assert named in result.output


def test_the_command_counts_first_and_removes_with_yes(tmp_path: Path):
    config = str(write_project(tmp_path))
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    now = datetime.now(UTC)
    rows = [a_prediction(now - timedelta(days=age)) for age in (399, 401, 500)]
    write_predictions(engine, rows)
    stored = [NewRow(f"c{place}", microseconds(row.at), row.inputs, row.rest) for place, row in enumerate(rows)]
    write_online_rows(engine, rows[0].layout, stored[:2])
    engine.dispose()
    command = ["--config", config, "journal", "prune", "--older-than", "400d"]
    counted = CliRunner().invoke(main, command)
    assert counted.output.startswith("Would remove 2 predictions before ")
    assert "and the stored columns of 1 customers" in counted.output
    document = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)
    assert (document["predictions"], document["stored_columns"], document["removed"]) == (2, 1, False)
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    with engine.connect() as connection:
        connection.execute(select(predictions)).all()
        done = CliRunner().invoke(main, [*command, "--yes"])
    engine.dispose()
    assert done.output.startswith("Removed 2 predictions before "), done.output
    assert "and the stored columns of 1 customers" in done.output
    assert "in use" in done.output
    again = json.loads(CliRunner().invoke(main, [*command, "--yes", "--json"]).output)
    assert (again["predictions"], again["stored_columns"], again["removed"], again["returned"]) == (0, 0, True, True)
