"""Grafana's files: made from the panels, complete, and about metrics that exist."""

import re
from itertools import combinations
from typing import Any

import pytest
import yaml
from scripts.grafana.__main__ import DASHBOARDS, FOLDER, content, path
from scripts.grafana.model import COLUMNS, Dashboard

from churnops.api.metrics import Metrics

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)


@each_dashboard
def test_the_file_is_as_the_script_writes_it(dashboard: Dashboard):
    assert path(dashboard).read_text(encoding="utf-8") == content(dashboard), "run `make grafana`"


def test_there_are_no_other_dashboards():
    assert sorted(FOLDER.iterdir()) == sorted(path(dashboard) for dashboard in DASHBOARDS)


@each_dashboard
def test_panels_fill_the_grid_without_overlap(dashboard: Dashboard):
    places = [panel["gridPos"] for panel in dashboard.to_json()["panels"]]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@each_dashboard
def test_every_panel_is_described_once(dashboard: Dashboard):
    assert all(panel.description.endswith(".") for panel in dashboard.panels)
    assert len({panel.title for panel in dashboard.panels}) == len(dashboard.panels)


def test_every_alert_has_a_panel_that_names_it():
    rules = (FOLDER.parents[1] / "prometheus" / "churnops.rules.yml").read_text(encoding="utf-8")
    descriptions = " ".join(panel.description for board in DASHBOARDS for panel in board.panels)
    assert set(re.findall(r"\bChurnops\w+", descriptions)) == set(re.findall(r"- alert: (\w+)", rules))


def test_every_metric_has_a_panel():
    families = set(re.findall(r"^# TYPE (churnops_\w+) ", Metrics().text().decode(), re.M))
    queries = "".join(query for board in DASHBOARDS for panel in board.panels for query in panel.queries.values())
    shown = {re.sub("_(count|bucket)$", "", name) for name in re.findall(r"\bchurnops_\w+", queries)}
    assert shown == families - {"churnops_monitoring_drifted"}  # `churnops_monitoring_effect` is its size


def test_the_provisioning_names_the_data_source_and_a_folder():
    (source,) = provisioned("datasources")["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = provisioned("dashboards")["providers"]
    assert provider["options"]["path"] in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


def provisioned(kind: str) -> Any:
    return yaml.safe_load((FOLDER.parent / "provisioning" / kind / "churnops.yaml").read_text(encoding="utf-8"))
