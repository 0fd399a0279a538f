"""Prometheus' rules: valid, tested by promtool, on existing metrics, and firing in a real Prometheus."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from churnops.api.metrics import Metrics
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.api import make_key
from tests.support.processes import PATIENCE, wait_for
from tests.support.projects import LATER, deployed
from tests.support.prometheus import FOLDER, prometheus
from tests.support.serving import Server

RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "churnops.rules.yml").read_text())["groups"]
    for rule in group["rules"]
}
needs_prometheus = pytest.mark.needs("prometheus")


@needs_prometheus
@pytest.mark.parametrize(
    "command",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "churnops.rules.yml"),
        ("test", "rules", "churnops.rules.test.yml"),
        ("test", "rules", "churnops.days.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(command: tuple[str, ...], tmp_path: Path):
    folder = shutil.copytree(FOLDER, tmp_path / "prometheus")
    (folder / "churnops.key").touch()
    done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested_both_ways():
    tests = [test for path in FOLDER.glob("*.test.yml") for test in yaml.safe_load(path.read_text())["tests"]]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == set(RULES)
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == set(RULES)


def test_every_rule_has_a_severity_and_all_annotations():
    for rule in RULES.values():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}


def test_rules_are_about_metrics_that_exist():
    known = {f"churnops_{name}" for name in re.findall(r"^# HELP churnops_(\w+) ", Metrics().text().decode(), re.M)}
    for name, rule in RULES.items():
        used = set(re.findall(r"\bchurnops_\w+", rule["expr"]))
        missing = {metric for metric in used if re.sub("_(count|bucket|sum)$", "", metric) not in known}
        assert not missing, name
        assert used or "up{" in rule["expr"], name


def drifted_customers() -> str:
    """Return the later customers as CSV, with half as many minutes and calls, and twice the tenure."""
    header, *lines = LATER.read_text().splitlines()
    names = header.split(",")
    less = [place for place, name in enumerate(names) if name.startswith("Total") and not name.endswith("charge")]
    longer = names.index("Account length")
    rows = []
    for line in lines:
        cells = line.split(",")
        for place in less:
            cells[place] = str(int(float(cells[place]) / 2))
        cells[longer] = str(2 * int(cells[longer]))
        rows.append(",".join(cells))
    return "\n".join([header, *rows, ""])


@needs_prometheus
def test_drift_reaches_a_real_prometheus_and_its_alert(tmp_path: Path, project: tuple[Settings, RunSummary]):
    settings = deployed(tmp_path / "project", project[0])
    predicts, reads = (make_key(settings, scope, name=scope) for scope in ("predict", "metrics"))
    folder = tmp_path / "prometheus"
    with Server(settings) as server, prometheus(folder, server.port, reads[:-1]) as watch:
        wait_for("a wrong key reads nothing", lambda: watch.value('up{job="churnops"}') == 0)
        (folder / "churnops.key").write_text(f"{reads}\n")
        wait_for("the service is read", lambda: watch.value('up{job="churnops"}') == 1)
        wait_for("nobody was asked about yet", lambda: watch.value("churnops_live_rows") == 0)
        assert watch.value("churnops_live_drift_rate > 0.3") is None
        assert "ChurnopsLiveDrift" not in watch.states()
        answer = server.ask("POST", "/predict/batch", drifted_customers().encode(), "text/csv", {"X-API-Key": predicts})
        assert answer.status == 200
        sent = answer.body.count(b"\n") - 1
        wait_for("all are counted", lambda: watch.value("churnops_live_rows") == sent)
        for query, least in (  # a busy machine may miss any scrape
            (RULES["ChurnopsLiveDrift"]["expr"], 0.3),
            ('churnops_live_column_drifted{column="total_day_calls"}', 0.9),
            ('churnops_live_column_distance{column="total_day_calls"}', 0.4),
        ):
            wait_for(f"{query} is above {least}", lambda q=query, low=least: (watch.value(q) or 0.0) > low)
        wait_for("the alert waits for its hour", lambda: watch.states().get("ChurnopsLiveDrift") == "pending")
        server.kill()
        wait_for("Prometheus sees that it is gone", lambda: watch.states().get("ChurnopsDown") == "pending")
