"""Experiments for tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine

from churnops.experiments.experiment import start_experiment as start
from churnops.journal import Label
from churnops.journal.experiments import Experiment, ExperimentStore, Kind
from churnops.journal.shadow_scores import ShadowScore
from churnops.journal.tables import microseconds
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


def live_shadow(settings: Settings, *, better: bool, customers: int = 3000) -> None:
    """Record due scores and outcomes for the running shadow: the challenger is right, or the champion is."""
    generator = np.random.default_rng(1)
    probability = generator.beta(1, 4, customers)
    other = np.clip(probability + generator.normal(0, 0.15, customers), 0.01, 0.99)
    churned = (generator.random(customers) < probability).tolist()
    with Project.open(settings) as project:
        shadow = project.experiments.running("shadow")
        assert shadow is not None
        models = (other, probability) if better else (probability, other)
        times = [datetime.now(UTC) - timedelta(days=90) + timedelta(minutes=15) * n for n in range(customers)]
        rows = enumerate(zip(times, *(model.tolist() for model in models), strict=True))
        project.shadow_scores.write(
            [ShadowScore(f"p{n}", shadow.id, microseconds(at), f"shadowed-{n}", *pair) for n, (at, *pair) in rows]
        )
        left = zip(times, churned, strict=True)
        project.journal.record_labels(
            [
                Label(gone, customer_id=f"shadowed-{n}", outcome_at=at + timedelta(days=3 if gone else 31))
                for n, (at, gone) in enumerate(left)
            ]
        )
