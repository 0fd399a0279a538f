"""Experiments for tests."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from churnops.experiments.experiment import start_experiment as start
from churnops.journal.experiments import Experiment, ExperimentStore, Kind
from churnops.project import Project
from churnops.settings import Settings

CHAMPION, CHALLENGER = "c" * 64, "d" * 64


def an_experiment(**changes: Any) -> Experiment:
    """Return a shadow of version 7 that is not in the journal."""
    given: dict[str, Any] = {
        "kind": "shadow",
        "champion": CHAMPION,
        "challenger": CHALLENGER,
        "champion_name": "tree-cccccccccccc",
        "challenger_name": "tree-dddddddddddd",
        "version": 7,
        "folder": "20260101T000000.000000Z-tree-v7",
        "share": 1.0,
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "by": "ann",
    }
    return Experiment(**given | changes)


def start_experiment(engine: Engine, **changes: Any) -> Experiment:
    """Start `an_experiment` in a journal."""
    return ExperimentStore(engine).start(an_experiment(**changes))


def start_with_threshold(settings: Settings, kind: Kind = "shadow", share: float = 1.0) -> Experiment:
    """Start an experiment of the deployed model with another threshold, whose scores are the same."""
    with Project.open(settings) as project, project.folder.locked():
        challenger = replace(project.require_deployed(), threshold=0.4)
        return start(project, kind, challenger, 7, share, "ann", "")
