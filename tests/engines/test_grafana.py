"""Every query of Grafana's dashboards returns a series from a real Prometheus that reads a real project."""

import json
from functools import partial
from pathlib import Path

import pytest
from scripts.grafana.__main__ import DASHBOARDS, path

from churnops.settings import load_settings
from tests.support.fixture_project import ACTIVE_TOKEN, PROJECTS, copy_project
from tests.support.processes import CHURNOPS, run, wait_for
from tests.support.prometheus import Prometheus, prometheus
from tests.support.serving import Server

VARIABLES = {"$job": "churnops", "$instance": ".*", "$__rate_interval": "1m"}


def queries() -> dict[tuple[str, str], str]:
    """Return each query with its variables replaced, by dashboard and panel."""
    result = {}
    for board in (json.loads(path(dashboard).read_text()) for dashboard in DASHBOARDS):
        for panel in board["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in VARIABLES.items():
                    query = query.replace(name, value)
                result[board["uid"], f"{panel['title']}: {target['legendFormat']}"] = query
    return result


def has_value(watch: Prometheus, query: str) -> bool:
    """Return whether a query returns a series whose value is known."""
    return any(series["value"][1] != "NaN" for series in watch.ask("query", query=query)["result"])


@pytest.mark.needs("prometheus")
def test_every_query_of_the_dashboards_returns_a_series(tmp_path: Path):
    settings = load_settings(copy_project(tmp_path / "project", PROJECTS[-1]) / "config.yaml")
    run(CHURNOPS, "rollback", "--reason", "a test", cwd=settings.root)  # to a model with known outcomes
    run(CHURNOPS, "monitor", "--no-retrain", cwd=settings.root)
    customer = json.loads(settings.path("answers.json").read_text())["customers"][0]
    alike = json.dumps([customer] * 600).encode()  # so many that an alert on drift begins
    unknown = json.dumps(customer | {"State": "a new state"}).encode()
    key = {"X-API-Key": ACTIVE_TOKEN}
    with Server(settings) as server, prometheus(tmp_path / "prometheus", server.port, ACTIVE_TOKEN) as watch:
        for times in (1, 2):
            assert server.ask("POST", "/predict", unknown, headers=key).status == 200
            assert server.ask("POST", "/predict/batch", alike, headers=key).status == 200
            wait_for("all are counted", partial(has_value, watch, f"sum(churnops_predictions_total) == {times * 601}"))
        for place, query in queries().items():
            wait_for(f"{place} has a value", partial(has_value, watch, query))
