"""Dashboards as lists of panels, and the JSON that Grafana imports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

COLUMNS = 24  # of Grafana's grid
SELECTED = 'job=~"$job", instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNKNOWN = {"type": "special", "options": {"match": "nan", "result": {"text": "unknown", "color": "text"}}}
"""Text of NaN, which a unit of yes and no would show as no."""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes
    ----------
    queries
        PromQL by the legend of its series. `$selected` stands for the selectors of job and instances.
    unit
        Grafana's name of the unit.
    limit
        Value from which on the panel is red, as in the rule of an alert; None if there is none.
    kind, width
        Grafana's type of the panel, and its columns of 24.
    """

    title: str
    description: str
    queries: Mapping[str, str]
    unit: str = "short"
    limit: float | None = None
    kind: Literal["timeseries", "stat", "state-timeline", "table"] = "timeseries"
    width: int = 8

    @property
    def height(self) -> int:
        """Rows of Grafana's grid."""
        return 4 if self.kind == "stat" else 8


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; its name is that of its file, and part of its address."""

    name: str
    description: str
    panels: Sequence[Panel]

    def to_json(self) -> dict[str, Any]:
        """Return the document that Grafana imports."""
        return {
            "uid": f"churnops-{self.name}",
            "title": f"churnops {self.name}",
            "description": self.description,
            "tags": ["churnops"],
            "schemaVersion": 39,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": []},
            "links": [
                {"type": "dashboards", "title": "churnops", "tags": ["churnops"], "includeVars": True, "keepTime": True}
            ],
            "templating": {"list": _variables()},
            "panels": _placed(self.panels),
        }


def _variables() -> list[dict[str, Any]]:
    """Return the lists from which a user chooses: source of data, job and instances."""
    shared = {"type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1}
    job = "label_values(churnops_model_refused, job)"
    instance = 'label_values(churnops_model_refused{job=~"$job"}, instance)'
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        shared | {"name": "job", "label": "Job", "query": job},
        shared
        | {
            "name": "instance",
            "label": "Instances",
            "query": instance,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return the panels' documents, placed from left to right in rows."""
    result: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, height = 0, y + height, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        result.append({"id": number, "gridPos": place} | _document(panel))
        x, height = x + panel.width, max(height, panel.height)
    return result


def _document(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "noValue": "none",
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [UNKNOWN],
    }
    if panel.kind == "timeseries" and panel.limit is not None:
        defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    elif panel.kind == "state-timeline":
        defaults["color"] = {"mode": "thresholds"}
    document: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(panel, *item) for item in zip("ABCD", panel.queries.items(), strict=False)],
    }
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True, "__name__": True, "job": True}
        document["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return document


def _target(panel: Panel, reference: str, query: tuple[str, str]) -> dict[str, Any]:
    legend, expression = query
    once = panel.kind in ("stat", "table")
    return {
        "refId": reference,
        "datasource": DATASOURCE,
        "expr": expression.replace("$selected", SELECTED),
        "legendFormat": legend,
        "instant": once,
        "range": not once,
        "format": "table" if panel.kind == "table" else "time_series",
    }
