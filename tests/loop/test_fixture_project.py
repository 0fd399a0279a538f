"""A project that an earlier version wrote: it answers as it did, and monitoring, retraining and rollback go on."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import create_engine, func, inspect, select

from churnops.app.models.summaries import newest_files, read_summaries
from churnops.app.monitoring.reports import read_report
from churnops.cli import main
from churnops.data.packing import unpack_profile
from churnops.journal import open_database
from churnops.journal.cycles import CycleLog
from churnops.journal.tables import metadata, profiles
from churnops.model import Bundle
from churnops.settings import Settings, load_settings
from tests.support import processes
from tests.support.fixture_project import ACTIVE_TOKEN, PROJECTS, REVOKED_TOKEN, copy_project, restore_journal
from tests.support.postgres import Cluster
from tests.support.processes import wait_for
from tests.support.projects import LATER, REPOSITORY
from tests.support.serving import Server

TOLERANCE = 1e-12  # other processors round the last bits differently
ROWS = {"predictions": 190, "labels": 127, "api_keys": 2, "deployments": 8, "decisions": 6, "looks": 3, "cycles": 6}
_numbers = count()


@pytest.fixture(params=PROJECTS, ids=lambda project: project.name)
def project(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def settings(request: pytest.FixtureRequest, project: Path, tmp_path: Path) -> Settings:
    """A copy of a project, with its journal in one of the two databases."""
    root = copy_project(tmp_path / "project", project)
    if request.param == "postgresql":
        server: Cluster = request.getfixturevalue("cluster")
        name = f"project_{next(_numbers)}"
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = server.url.replace("/postgres", f"/{name}")
        restore_journal(url, project)
        (root / "journal.db").unlink()
        document = yaml.safe_load((root / "config.yaml").read_text())
        document["journal"]["url"] = url
        (root / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return load_settings(root / "config.yaml")


@pytest.fixture
def typed(settings: Settings) -> Callable[..., Any]:
    """Run a command in the project with `--json`, and return its document."""

    def run(*command: str) -> Any:
        result = CliRunner().invoke(main, ["--config", str(settings.path("config.yaml")), *command, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def ask(server: Server, path: str, body: Any = None, token: str | None = ACTIVE_TOKEN) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": token} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=processes.PATIENCE) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def check_answers(server: Server, customers: list[Any], recorded: list[Any]) -> None:
    """Fail unless each customer gets the recorded answer, alone and in a list."""
    status, together = ask(server, "/predict/batch", customers)
    assert status == 200
    for customer, expected, in_list in zip(customers, recorded, together, strict=True):
        status, alone = ask(server, "/predict", customer)
        assert status == 200
        for answer in (alone, in_list):
            check_answer(answer, expected)


def check_answer(answer: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name in ("churn_prediction", "model_version", "explanation_scale"):
        assert answer[name] == expected[name]
    for name in ("churn_probability", "base_value"):
        assert answer[name] == pytest.approx(expected[name], rel=0, abs=TOLERANCE)
    reasons = {reason["feature"]: reason["shap_value"] for reason in answer["top_shap_features"]}
    expected_reasons = {reason["feature"]: reason["shap_value"] for reason in expected["top_shap_features"]}
    assert reasons == pytest.approx(expected_reasons, rel=0, abs=TOLERANCE)


def row_counts(url: str) -> dict[str, int]:
    engine = create_engine(url)
    with closing(engine.connect()) as connection:
        tables = {name: metadata.tables[name] for name in inspect(engine).get_table_names() if name in metadata.tables}
        found = {name: connection.execute(select(func.count()).select_from(t)).scalar() for name, t in tables.items()}
    engine.dispose()
    return {name: int(number or 0) for name, number in found.items()}


def test_both_versions_answer_as_recorded_and_keys_still_work(settings: Settings, typed: Callable[..., Any]):
    document = json.loads(settings.path("answers.json").read_text())
    customers, answers = document["customers"], document["answers"]
    with Server(settings) as server:
        assert ask(server, "/predict", customers[0], REVOKED_TOKEN)[0] == 401
        assert ask(server, "/predict", customers[0], None)[0] == 401
        check_answers(server, customers, answers["2"])
        typed("rollback", "--reason", "a test")
        first = answers["1"][0]["model_version"]
        wait_for("the first version answers", lambda: ask(server, "/model")[1]["model_version"] == first)
        check_answers(server, customers, answers["1"])
        typed("promote", "2", "--reason", "a test", "--force")
        second = answers["2"][0]["model_version"]
        wait_for("the second version answers", lambda: ask(server, "/model")[1]["model_version"] == second)


def test_monitoring_retraining_and_rollback_go_on(settings: Settings, typed: Callable[..., Any]):
    cycle = typed("monitor", "--no-retrain")
    assert cycle["report"]["rows"] > 0
    new = settings.path("new.csv")
    table = pl.read_csv(LATER, infer_schema_length=0)[900:]
    table.write_csv(new)
    assert typed("monitor", "--batch", str(new), "--no-retrain")["report"]["rows"] == table.height
    # The model in production has learned that customers with a high bill stay; these leave.
    summary = typed("retrain", "--batch", str(new))
    assert (summary["status"], summary["version"]) == ("deployed", 4), summary["reason"]
    assert typed("rollback", "--reason", "a test")["version"] == 2
    assert typed("rollback", "--to", "1", "--reason", "a test")["version"] == 1
    models = typed("models")
    assert models["production"].endswith("-logistic_regression-v1")
    assert {version["version"] for version in models["versions"]} == {1, 2, 3, 4}
    assert [deployed["version"] for deployed in models["deployments"]][:4] == [1, 2, 1, 2]
    keys = json.loads(processes.run(processes.CHURNOPS, "keys", "list", "--json", cwd=settings.root).stdout)["keys"]
    assert [(key["name"], key["revoked_at"] is None) for key in keys] == [("fixture", True), ("gone", False)]


def test_nothing_in_the_journal_is_lost_on_upgrade(settings: Settings):
    url = settings.database_url(settings.journal.url)
    before = row_counts(url)
    assert all(before[name] >= number for name, number in ROWS.items())
    open_database(url).dispose()
    after = row_counts(url)
    assert {name: after[name] for name in before} == before


@pytest.fixture
def engine(settings: Settings) -> Iterator[Any]:
    engine = open_database(settings.database_url(settings.journal.url))
    yield engine
    engine.dispose()


def test_the_dashboard_reads_every_report_summary_and_live_profile(settings: Settings, engine: Any):
    folder = settings.path(settings.monitoring.directory)
    cycles = CycleLog(engine).newest(100, report_only=None)
    named = [cycle.report for cycle in cycles if cycle.report]
    assert len(named) == len(list(folder.glob("monitoring_report_*.json"))) == 6
    reports = [read_report(folder, name).report for name in named]
    assert {report.report_only for report in reports} == {"", "simulated", "of the past"}
    assert all(report.rows and report.feature_drift.columns for report in reports)
    assert all(report.recommend_retraining.triggers for report in reports)
    summaries, damaged = read_summaries(folder, [name for name, _, _ in newest_files(folder)])
    assert damaged == []
    assert {summary.status for summary in summaries} == {"not permitted", "deployed", "cannot tell"}
    bundles = [Bundle.load(path) for path in sorted(settings.path("models/versions").iterdir())]
    reference = {bundle.content_sha256: bundle.reference for bundle in bundles}
    with engine.connect() as connection:
        rows = connection.execute(select(profiles.c.content_sha256, profiles.c.data)).all()
    assert len(rows) == 3
    for content_sha256, data in rows:
        assert unpack_profile(data, reference[content_sha256])


def test_the_fixture_is_small_and_names_no_machine(project: Path):
    files = [path for path in project.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 3_200_000
    folders = [str(REPOSITORY).encode(), b"/home/", b"/root/", b"/tmp/", b"/Users/"]
    for path in files:
        content = path.read_bytes()
        assert not any(folder in content for folder in folders), path
