"""Orchestration on a file: simulate a batch, monitor it, and retrain if monitoring recommends it.

It runs after the loop in the same project. The project has the setting `demonstration: true`, without which a file of
simulated customers never acts. The gate decides whether a new model is deployed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churnops.demo.project import DemoProject

SOURCE = "simulated"
BATCH = "simulated_batch.csv"


@dataclass(frozen=True)
class Orchestration:
    """Result of the orchestration.

    Attributes
    ----------
    batch
        The file of simulated customers.
    simulated, retraining
        Sentences of the commands: the drift of the customers, and the result of the retraining.
    report
        The monitoring report, as JSON.
    """

    batch: Path
    simulated: str
    report: dict[str, Any]
    retraining: str

    def lines(self) -> list[str]:
        """Return the result in sentences."""
        performance = self.report["performance"]["reason"]
        reasons = self.report["recommend_retraining"]["reasons"] or ["no reason to retrain"]
        return [
            f"simulated: {self.simulated}",
            f"monitored: {performance}; {self.report['feature_drift']['reason']}",
            *(f"  {reason}" for reason in reasons),
            f"retraining: {self.retraining}",
        ]


def orchestrate(project: DemoProject, *, rows: int, concept: float, seed: int) -> Orchestration:
    """Simulate a batch with noise and changed outcomes, and monitor it.

    Parameters
    ----------
    rows
        Customers in the batch.
    concept
        Share of them, in [0, 1], whose outcome no longer depends on the columns.

    Raises
    ------
    ChurnopsError
        If a command fails.
    """
    batch = project.folder / BATCH
    drift = ("--recipe", "--concept", str(concept), "--rows", str(rows), "--seed", str(seed))
    sources = [word for path in project.sources for word in ("--source", str(path))]
    made = json.loads(project.answer("simulate", "simulate", str(batch), *drift, *sources, "--force", "--json"))
    watch = ("monitor", "--batch", str(batch), "--act", "--source", SOURCE, "--json")
    with project.serving():  # a new model is checked through the API
        cycle = json.loads(project.answer("batch", *watch))
    return Orchestration(batch, made["description"], cycle["report"], cycle["retraining"])
