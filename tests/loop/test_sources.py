"""Sources: cycles act on live traffic and named files, and never on simulated customers."""

import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from churnops.data.simulate import Drift
from churnops.data.simulated import file_sha256
from churnops.errors import ChurnopsError, DataError
from churnops.journal.cycles import CycleLog
from churnops.journal.simulated import SimulatedFiles
from churnops.journal.tables import alerts, cycles, decisions, looks
from churnops.pipelines import run_monitoring as monitoring
from churnops.pipelines import sources
from churnops.pipelines.run_all import run_all
from churnops.pipelines.simulate import simulate_file
from churnops.pipelines.trigger_retraining import trigger_retraining
from churnops.retraining.policy import RetrainingTask
from churnops.schema import SIMULATED
from churnops.settings import DEMONSTRATION, Settings
from tests.support.monitoring import DAY, asked, batch_beside, customers, database, longer_calls, number_of, report_of
from tests.support.processes import CHURNOPS, run
from tests.support.projects import RAW, REPOSITORY
from tests.support.sinks import listening


def told(settings: Settings) -> list[tuple[str, str, str]]:
    with database(settings) as engine, engine.connect() as connection:
        rows = connection.execute(select(alerts.c.subject, alerts.c.source, alerts.c.state).order_by(alerts.c.id)).all()
    return [tuple(row) for row in rows]


def counted(settings: Settings) -> dict[str, int]:
    """Numbers of looks, alerts and decisions, which a cycle may cause."""
    return {table.name: number_of(settings, table) for table in (looks, alerts, decisions)}


NOTHING = {"looks": 0, "alerts": 0, "decisions": 0}


def simulated(settings: Settings, path: Path, **drift: Any) -> Path:
    simulate_file([RAW[0]], path, settings, Drift(**drift), rows=1000, seed=1)
    return path


def demonstration(settings: Settings) -> Settings:
    shown = settings.model_copy(update={"demonstration": True})
    shown._root = settings.root
    return shown


def test_the_documented_try_out_deploys_alerts_and_counts_nothing(deployed: Settings):
    """Every command under "Trying it out", with a channel that receives every alert."""
    section = (REPOSITORY / "docs/monitoring.md").read_text().partition("## Trying it out")[2].partition("\n## ")[0]
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^    (churnops .*)$", section, re.MULTILINE)]
    assert [command[1] for command in commands] == ["simulate", "monitor"]
    (deployed.root / "data/raw").mkdir(parents=True)
    (deployed.root / "data/raw/churn.csv").write_bytes(RAW[0].read_bytes())
    before = deployed.path("models/production").readlink()
    with listening() as endpoint:
        addresses = json.dumps([endpoint.url])
        for _, *words in commands:
            run(CHURNOPS, *words, cwd=deployed.root, CHURNOPS_ALERTS__URLS=addresses, CHURNOPS_DATA__PRODUCTION="[]")
        assert endpoint.asked == []
    (path,) = deployed.path("monitoring").glob("monitoring_report_*.json")
    report = json.loads(path.read_text())
    assert report["recommend_retraining"]["value"] is True
    assert (report["simulated"], report["acts_as"], report["look"]) == (True, None, None)
    assert deployed.path("models/production").readlink() == before
    assert counted(deployed) == NOTHING
    with database(deployed) as engine:
        assert CycleLog(engine).newest() == []


def test_a_clean_file_does_not_end_the_alarm_of_live_traffic(deployed: Settings, tmp_path: Path):
    now = datetime.now(UTC)
    asked(deployed, customers(deployed, longer_calls).head(800), now - 3 * DAY, now - 2 * DAY)
    monitoring.run_monitoring(deployed, sources.window(), permitted=False)
    live = [("feature_drift", "live", "firing")]
    assert [row for row in told(deployed) if row[0] == "feature_drift"] == live
    clean, changed = tmp_path / "clean.csv", tmp_path / "changed.csv"
    customers(deployed).write_csv(clean)
    customers(deployed, longer_calls).write_csv(changed)
    for path, acts_as in ((clean, None), (clean, "weekly"), (changed, None)):
        report = report_of(monitoring.run_monitoring(deployed, sources.file(path, acts_as), permitted=False))
        assert report["acts_as"] == acts_as
        assert report["look"] == (None if acts_as is None else 1)
    assert [row for row in told(deployed) if row[0] == "feature_drift"] == live
    for path in (changed, clean):  # a source's own alarm begins and ends with its own files
        monitoring.run_monitoring(deployed, sources.file(path, "weekly"), permitted=False)
    weekly = [("feature_drift", "weekly", "firing"), ("feature_drift", "weekly", "recovered")]
    assert [row for row in told(deployed) if row[0] == "feature_drift"] == live + weekly


def test_a_file_without_a_required_column_alerts_its_source(deployed: Settings, tmp_path: Path):
    bad = tmp_path / "bad.csv"
    customers(deployed, longer_calls).drop("customer_service_calls").write_csv(bad)
    command = (CHURNOPS, "monitor", "--batch", str(bad), "--json")
    assert json.loads(run(*command, cwd=deployed.root).stdout)["report"]["unreadable_columns"] == [
        "customer_service_calls"
    ]
    assert told(deployed) == []
    printed = run(*command[:-1], "--act", "--source", "weekly", cwd=deployed.root)
    assert "recommended, but no model can be trained on a file with broken columns" in " ".join(printed.stdout.split())
    assert {("broken_columns", "weekly", "firing"), ("feature_drift", "weekly", "firing")} == set(told(deployed))
    assert number_of(deployed, decisions) == 0
    customers(deployed).write_csv(bad)
    monitoring.run_monitoring(deployed, sources.file(bad, "weekly"), permitted=False)
    assert ("broken_columns", "weekly", "recovered") in told(deployed)


def test_a_file_with_wrong_columns_is_an_error_and_nothing_else(deployed: Settings, tmp_path: Path):
    bad = tmp_path / "bad.csv"
    customers(deployed).select("total_day_minutes", "churn").write_csv(bad)
    few = tmp_path / "few.csv"
    wrong = pl.when(pl.int_range(pl.len()) < 9).then(pl.lit("Atlantis")).otherwise("voice_mail_plan")
    customers(deployed).with_columns(wrong.alias("voice_mail_plan")).write_csv(few)
    with pytest.raises(ChurnopsError, match="voice_mail_plan"):
        monitoring.run_monitoring(deployed, sources.file(few))
    with pytest.raises(ChurnopsError, match="total_day_calls"):
        monitoring.run_monitoring(deployed, sources.file(bad))
    assert counted(deployed) == NOTHING
    assert number_of(deployed, cycles) == 0
    with pytest.raises(ChurnopsError, match="total_day_calls"):
        monitoring.run_monitoring(deployed, sources.file(bad, "weekly"))
    assert told(deployed) == [("cycle_failed", "weekly", "firing")]


CHANGES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "as it is": lambda table: table,
    "another case": lambda table: table.rename({SIMULATED: " Churnops_SIMULATED"}),
    "another spelling": lambda table: table.rename({SIMULATED: "Churnops Simulated"}),
    "joined": lambda table: table.rename({SIMULATED: f"made.{SIMULATED}_right"}),
    "false in all rows": lambda table: table.with_columns(pl.lit("false").alias(SIMULATED)),
    "true in one row": lambda table: pl.concat(
        [table.head(1), table.tail(-1).with_columns(pl.lit(None).alias(SIMULATED))], how="vertical_relaxed"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_simulated_file_never_acts(deployed: Settings, tmp_path: Path, change: str):
    path = simulated(deployed, tmp_path / "made.csv", covariate=1.0)
    CHANGES[change](pl.read_csv(path, infer_schema=False)).write_csv(path)
    with pytest.raises(DataError, match=r"made.csv holds simulated customers.*demonstration: true"):
        monitoring.run_monitoring(deployed, sources.file(path, "weekly"))
    with pytest.raises(DataError, match=r"made.csv holds simulated customers"):
        trigger_retraining(deployed, RetrainingTask("by hand", batch=path))
    renamed = path.rename(tmp_path / "made.data")  # read as a CSV whatever its ending
    with pytest.raises(DataError, match=r"made.data holds simulated customers"):
        monitoring.run_monitoring(deployed, sources.file(renamed, "weekly"))
    assert counted(deployed) == NOTHING
    assert number_of(deployed, cycles) == 0
    assert not deployed.path("monitoring").exists()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_simulated_files_are_marked_in_every_row_and_by_their_hash(
    deployed: Settings,
    tmp_path: Path,
    suffix: str,
):
    path = simulated(deployed, tmp_path / f"made{suffix}")
    table = pl.read_csv(path) if suffix == ".csv" else pl.read_parquet(path)
    assert table.get_column(SIMULATED).to_list() == [True] * 1000
    with database(deployed) as engine:
        files = SimulatedFiles(engine)
        assert files.holds(path)
        copy = tmp_path / f"copy{suffix}"
        copy.write_bytes(path.read_bytes())
        assert files.holds(copy)
        copy.write_bytes(path.read_bytes() + b"\n")
        assert not files.holds(copy)
        assert file_sha256(path) != file_sha256(copy)


def test_the_customers_of_a_simulated_report_stay_marked(deployed: Settings, tmp_path: Path):
    """A report's batch file may be used as `--batch`: simulated customers must not become production that way."""
    made = simulated(deployed, tmp_path / "made.csv")
    (deployed.root / "data").mkdir()
    deployed.path("data/production").symlink_to(REPOSITORY / "data/production")
    for source in (sources.file(made), sources.simulation(seed=1)):
        summary = monitoring.run_monitoring(deployed, source)
        assert report_of(summary)["simulated"] is True
        assert summary.retraining in ("not recommended", "recommended, but simulated customers cause no retraining")
        batch = batch_beside(summary.cycle.path)
        with database(deployed) as engine:
            assert SimulatedFiles(engine).holds(batch)
        with pytest.raises(DataError, match="simulated customers"):
            monitoring.run_monitoring(deployed, sources.file(batch, "weekly"))
    assert counted(deployed) == NOTHING


def test_nothing_trains_on_simulated_tables(deployed: Settings, tmp_path: Path):
    raw, production = (tmp_path / name for name in ("raw", "production"))
    for folder in (raw, production):
        folder.mkdir()
    simulated(deployed, raw / "churn.csv")
    before = deployed.path("models/production").readlink()
    (production / "later.csv").write_bytes((raw / "churn.csv").read_bytes())
    for tables in ({"raw": (str(raw),), "production": ()}, {"raw": (str(RAW[0]),), "production": (str(production),)}):
        changed = deployed.model_copy(update={"data": deployed.data.model_copy(update=tables)})
        changed._root = deployed.root
        with pytest.raises(DataError, match="simulated customers"):
            run_all(changed, deploy=True)
    assert deployed.path("models/production").readlink() == before
    assert counted(deployed) == NOTHING


def test_in_a_demonstration_simulated_files_act_and_are_marked(
    deployed: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    path = simulated(deployed, tmp_path / "made.csv", covariate=1.0)
    summary = monitoring.run_monitoring(demonstration(deployed), sources.file(path, "weekly"), permitted=False)
    report = report_of(summary)
    assert (report["simulated"], report["acts_as"], report["demonstration"], report["look"]) == (
        True,
        "weekly",
        True,
        1,
    )
    assert DEMONSTRATION in summary.cycle.page.read_text()
    with database(deployed) as engine, engine.connect() as connection:
        bodies = connection.execute(select(alerts.c.body)).scalars().all()
    assert bodies
    assert all(body.startswith(DEMONSTRATION) for body in bodies)
    assert DEMONSTRATION in capsys.readouterr().err
    assert "feature_drift" in {subject for subject, source, _ in told(deployed) if source == "weekly"}


def test_a_file_acts_where_the_settings_or_the_command_say_so(deployed: Settings, tmp_path: Path):
    folder = deployed.root / "scored"
    folder.mkdir()
    declared, other = folder / "july.csv", tmp_path / "other.csv"
    for path in (declared, other):
        customers(deployed).head(50).write_csv(path)
    (folder / "link.csv").symlink_to(other)

    def acts_as(path: Path, *options: str) -> Any:
        command = (CHURNOPS, "monitor", "--batch", str(path), "--no-retrain", "--json", *options)
        done = run(*command, cwd=deployed.root, CHURNOPS_DATA__BATCHES="{monthly: scored}")
        return json.loads(done.stdout)["report"]["acts_as"]

    assert acts_as(declared) == "monthly"
    assert acts_as(declared, "--no-act") is None
    assert acts_as(folder / "link.csv") is None, "a link brings no file into the folder"
    assert acts_as(other, "--act", "--source", "july") == "july"
    with database(deployed) as engine:
        assert CycleLog(engine).sources() == ["file", "july", "monthly"]
