"""Write the dashboards of `deploy/grafana`: `make grafana`.

A test compares the files with the panels.
"""

import json
from pathlib import Path

from scripts.grafana.drift import DRIFT
from scripts.grafana.experiments import EXPERIMENTS
from scripts.grafana.model import Dashboard
from scripts.grafana.performance import PERFORMANCE
from scripts.grafana.replicas import REPLICAS
from scripts.grafana.service import SERVICE

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
DASHBOARDS = (SERVICE, DRIFT, PERFORMANCE, REPLICAS, EXPERIMENTS)


def path(dashboard: Dashboard) -> Path:
    """Return the file of a dashboard."""
    return FOLDER / f"churnops-{dashboard.name}.json"


def content(dashboard: Dashboard) -> str:
    """Return the text of a dashboard."""
    return json.dumps(dashboard.to_json(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for dashboard in DASHBOARDS:
        path(dashboard).write_text(content(dashboard), encoding="utf-8")
