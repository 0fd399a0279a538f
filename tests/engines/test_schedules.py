"""The jobs of the example crontab run on a project, also twice at the same time."""

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE

from sqlalchemy import select

from churnops.journal.tables import alerts
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.commands import cron_lines
from tests.support.monitoring import asked, customers, database, longer_calls
from tests.support.processes import CHURNOPS, PATIENCE, run, start
from tests.support.projects import deployed, write_store


def test_each_job_runs_and_a_second_cycle_at_once_is_harmless(project: tuple[Settings, RunSummary], tmp_path: Path):
    settings = deployed(tmp_path, project[0], data={"batches": {"weekly": "data/weekly"}})
    write_store(tmp_path)
    jobs = [shlex.split(line.partition("&& churnops ")[2].partition(">>")[0]) for line in cron_lines()]
    monitor, predict, monitor_file, retrain = jobs
    folder, now = settings.root, datetime.now(UTC)
    changed = customers(settings, longer_calls)
    asked(settings, changed, now - timedelta(days=3), now)
    (folder / "data/weekly").mkdir(parents=True)
    changed.drop(settings.table.target.name).write_parquet(folder / "data/customers.parquet")

    twice = [start((CHURNOPS, *monitor), cwd=folder, stdout=PIPE, stderr=PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE) for process in twice]
    assert [process.returncode for process in twice] == [0, 0], outputs
    reports = [json.loads(path.read_text()) for path in folder.glob("monitoring/monitoring_report_*.json")]
    assert [report["look"] for report in reports] == [1, 1]
    with database(settings) as engine, engine.connect() as connection:
        subjects = connection.execute(select(alerts.c.subject)).scalars().all()
    assert len(set(subjects)) == len(subjects) > 0

    run(CHURNOPS, *predict, cwd=folder)
    run(CHURNOPS, *monitor_file, cwd=folder)
    assert "Not permitted" in run(CHURNOPS, *retrain, cwd=folder, code=2).stdout
