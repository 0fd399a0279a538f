"""The report's orchestration, on a file: simulate a batch, monitor it, and retrain if the monitor says so.

It runs when the loop is over, in the same project, whose settings say `demonstration: true`: only there does a file of
simulated customers act. Whether a new model is deployed is the gate's decision, and nobody knows it before.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.project import Project

SOURCE = "simulated"
BATCH = "simulated_batch.csv"


@dataclass(frozen=True)
class Orchestration:
    """What the report's three scripts came to.

    Attributes
    ----------
    batch
        The file of simulated customers.
    simulated, retraining
        In words, by the commands themselves: how the customers differ, and what came of the retraining.
    report
        The monitoring report, as JSON.
    """

    batch: Path
    simulated: str
    report: dict[str, Any]
    retraining: str

    def lines(self) -> list[str]:
        """Say in sentences what happened."""
        performance = self.report["performance"]["reason"]
        reasons = self.report["recommend_retraining"]["reasons"] or ["no reason to retrain"]
        return [
            f"simulated: {self.simulated}",
            f"monitored: {performance}; {self.report['feature_drift']['reason']}",
            *(f"  {reason}" for reason in reasons),
            f"retraining: {self.retraining}",
        ]


def orchestrate(project: Project, *, rows: int, concept: float, seed: int) -> Orchestration:
    """Simulate a batch by the report's recipe, with outcomes that follow the model less, and monitor it.

    Parameters
    ----------
    rows
        Customers in the batch.
    concept
        Share of them, in [0, 1], whose outcome no longer follows from what they do.

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
