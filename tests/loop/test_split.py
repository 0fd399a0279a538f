"""A split typed by a person: start, files and folders, report, stop, and its end by a rollback."""

import json
import pickle
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import Result

from churnops.experiments.assignment import arm_of, challengers
from churnops.experiments.ratio_alert import alert_mismatch
from churnops.experiments.split import running_split
from churnops.journal import Label
from churnops.journal.exposures import Exposure
from churnops.journal.tables import microseconds
from churnops.model import sent as sent_module
from churnops.project import Project
from churnops.scoring.arms import Arms
from churnops.settings import Settings, load_settings
from tests.support.commands import typed_in
from tests.support.fixture_project import PROJECTS, copy_project
from tests.support.processes import run
from tests.support.projects import LATER
from tests.support.sinks import listening


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project with version 2 deployed and version 3 registered."""
    return load_settings(copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml")


@pytest.fixture
def typed(settings: Settings) -> Callable[..., Result]:
    return typed_in(settings)


def live(settings: Settings, customers: int = 4000) -> None:
    """Record due outcomes of the running split: fewer customers of the challenger's arm leave."""
    generator, at = np.random.default_rng(1), datetime.now(UTC) - timedelta(days=90)
    with Project.open(settings) as project:
        split = project.experiments.running("split")
        assert split is not None
        ids = [f"c{number}" for number in range(customers)]
        theirs = challengers(split.id, split.share, ids)
        left = generator.random(customers) < np.where(theirs, 0.08, 0.2)
        pairs = list(zip(ids, theirs.tolist(), left.tolist(), strict=True))
        project.exposures.write([Exposure(split.id, id_, None, microseconds(at), arm, False) for id_, arm, _ in pairs])
        days = {True: timedelta(days=3), False: timedelta(days=31)}
        project.journal.record_labels(
            [Label(gone, customer_id=id_, outcome_at=at + days[gone]) for id_, _, gone in pairs]
        )


def test_a_split_from_start_to_stop(settings: Settings, typed: Callable[..., Result]):
    assert "there was no split yet" in typed("split", "report", code=2).stderr
    assert "no split is running" in typed("split", "stop", code=2).stderr
    started = typed("split", "start", "3", "--share", "0.3", "--reason", "the new tariff").stdout
    assert started.startswith("Started split 1: version 3 (")
    assert "split 1 of version 3 is running: `churnops split stop`" in typed("shadow", "start", "3", code=2).stderr
    first = json.loads(typed("split", "report", "--json").stdout)
    assert first["answer"].startswith("There are too few outcomes. The first are due on ")

    live(settings)
    report = json.loads(typed("split", "report", "--json").stdout)
    arms = [report[name] for name in ("champion", "challenger")]
    assert sum(arm["known"] for arm in arms) == 4000
    assert all(arm["low"] < arm["rate"] < arm["high"] for arm in arms)
    assert report["answer"].startswith("Customers of the challenger's arm churned less: -1")
    assert not report["ratio"]["mismatch"]
    stopped = typed("split", "stop", "--reason", "it is certain").stdout
    assert "churned less" in stopped
    assert "changes their outcomes" in stopped.replace("\n", " ")
    with Project.open(settings) as project:
        kept = project.experiments.newest()[0]
    assert kept.state == "stopped"
    assert kept.details["report"]["challenger"]["churned"] == report["challenger"]["churned"]


def test_lost_customers_of_an_arm_are_a_mismatch_and_alerted_once(settings: Settings, typed: Callable[..., Result]):
    typed("split", "start", "3", "--share", "0.5")
    live(settings, customers=200)
    now = microseconds(datetime.now(UTC))
    with Project.open(settings) as project:
        project.exposures.write([Exposure(1, f"more-{n}", None, now, False, False) for n in range(1000)])
    shown = typed("split", "report").stdout.replace("\n", " ")
    assert "The arms cannot be compared" in shown
    assert "sample ratio mismatch" in shown
    with listening() as endpoint, Project.open(settings.changed("alerts", {"urls": [endpoint.url]})) as project:
        split = project.experiments.newest()[0]
        assert [alert_mismatch(project, split) for _ in range(2)] == [True, False]
    assert endpoint.titles() == ["[warning] churnops: Split 1 cannot be compared"]


def test_files_and_folders_are_scored_by_arms(settings: Settings, typed: Callable[..., Result], tmp_path: Path):
    ids = [f"c{number}" for number in range(60)]
    table = pl.read_csv(LATER).head(60).with_columns(pl.Series("customer_id", ids))
    table.write_csv(tmp_path / "in.csv")
    (tmp_path / "in").mkdir()
    for part in range(2):
        table.slice(30 * part, 30).write_parquet(tmp_path / f"in/{part}.parquet")
    before = tmp_path / "before.csv"
    typed("predict", str(tmp_path / "in.csv"), str(before))
    typed("split", "start", "3", "--share", "0.4")
    typed("predict", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--explain")
    typed("predict", str(tmp_path / "in"), str(tmp_path / "out"))
    file = pl.read_csv(tmp_path / "out.csv")
    folder = pl.concat([pl.read_parquet(path) for path in sorted(tmp_path.glob("out/*.parquet"))])
    arms = [arm_of(1, 0.4, id_) for id_ in ids]
    for scored in (file, folder):
        assert scored["experiment_arm"].to_list() == arms
        assert scored["customer_id"].to_list() == ids
        assert scored["model_version"].n_unique() == 2
    assert file["churn_probability"].to_list() == pytest.approx(folder["churn_probability"].to_list())
    own = pl.Series([arm == "champion" for arm in arms])
    alone = pl.read_csv(before)
    assert file.filter(own).select(alone.columns).equals(alone.filter(own))
    report = json.loads(typed("split", "report", "--json").stdout)
    assert report["challenger"]["customers"] == arms.count("challenger")

    with Project.open(settings) as project:
        running = project.experiments.running()
        assert running is not None
    shutil.rmtree(settings.path("models/versions") / running.folder)
    done = typed("predict", str(tmp_path / "in.csv"), str(tmp_path / "again.csv"))
    assert "the deployed model scores all" in done.stderr
    again = pl.read_csv(tmp_path / "again.csv")
    assert again["experiment_arm"].to_list() == arms
    assert again["churn_probability"].to_list() == alone["churn_probability"].to_list()


KILLED = """
import os, signal, sys
from pathlib import Path
from churnops.cli import main
from churnops.journal.arm_outcomes import ExposureStore
from churnops.scoring import file, folder

point, *sys.argv[1:] = sys.argv[1:]

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def recorded(store, rows, write=ExposureStore.write):
    write(store, rows[: len(rows) // 2] if point == "recording" else rows)
    kill()

def named(path, target, rename=Path.rename):
    new = rename(path, target)
    if Path(target).name.startswith("out"):
        kill()
    return new

if point == "named":
    Path.rename = Path.replace = named
else:
    ExposureStore.write = recorded
main()
"""
"""`churnops`, killed while it records exposures, afterwards, or when the result has its name."""


@pytest.mark.parametrize("kind", ["csv", "folder"])
@pytest.mark.parametrize("point", ["recording", "recorded", "named"])
def test_a_killed_command_loses_no_exposure(
    settings: Settings, typed: Callable[..., Result], tmp_path: Path, kind: str, point: str
):
    ids = [f"c{number}" for number in range(60)]
    table = pl.read_csv(LATER).head(60).with_columns(pl.Series("customer_id", ids))
    (tmp_path / "in").mkdir()
    table.write_csv(tmp_path / "in.csv")
    table.write_parquet(tmp_path / "in/0.parquet")
    typed("split", "start", "3", "--share", "0.4")
    ending = ".csv" if kind == "csv" else ""
    source, target = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    command = ("predict", str(source), str(target))
    run(sys.executable, "-c", KILLED, point, *command, cwd=settings.root, code=-signal.SIGKILL)
    assert target.exists() == (point == "named")
    if not target.exists():
        typed(*command)
    report = json.loads(typed("split", "report", "--json").stdout)
    assert report["challenger"]["customers"] == [arm_of(1, 0.4, id_) for id_ in ids].count("challenger")
    assert report["champion"]["customers"] + report["challenger"]["customers"] == len(ids)


def test_workers_of_a_cluster_get_the_same_arms(settings: Settings, typed: Callable[..., Result]):
    typed("split", "start", "3", "--share", "0.4")
    with Project.open(settings) as project:
        split = running_split(project, project.require_deployed())
    assert split is not None
    sent: Arms = pickle.loads(pickle.dumps(split.arms))
    sent_module._loaded.clear()  # as in another process
    challenger, ids = sent.load(), [f"c{number}" for number in range(100)]
    assert challenger is not None
    assert challenger.content_sha256 == split.experiment.challenger
    arms = ["challenger" if theirs else "champion" for theirs in sent.assign(sent.experiment, sent.share, ids)]
    assert arms == [arm_of(1, 0.4, id_) for id_ in ids]


def test_a_rollback_ends_a_split(settings: Settings, typed: Callable[..., Result]):
    typed("split", "start", "3", "--share", "0.2")
    typed("rollback")
    report = json.loads(typed("split", "report", "--json").stdout)
    assert (report["state"], report["ended_why"].endswith("was deployed")) == ("stopped", True)


def test_a_version_that_cannot_split_is_refused(settings: Settings, typed: Callable[..., Result]):
    refused = typed("split", "start", "2", "--share", "0.5", code=2).stderr
    assert "version 2 has the same content as the deployed model" in refused
    assert "0.0<x<1.0" in typed("split", "start", "3", "--share", "1", code=2).stderr
    assert "not a finite number" in typed("split", "start", "3", "--share", "nan", code=2).stderr
    assert "Missing option '--share'" in typed("split", "start", "3", code=2).stderr
