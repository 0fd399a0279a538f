"""Recovery after a concept drift: ROC-AUC of the retrained model, and the number of customers until its deployment.

In the new world, the rule of the telecom table that links high bills to churn is reversed (`churnops/demo/world.py`).

`RECOVERY_SEEDS` and `RECOVERY_LOOPS` change the number of worlds, and of runs of the whole loop.
"""

import math
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.special import stdtrit

from benchmarks.harness import ROOT, Claim, Result
from benchmarks.product import Customers, train
from churnops.api.customers import CustomerForm
from churnops.demo.loop import run_loop
from churnops.demo.plan import DemoPlan
from churnops.demo.project import DemoProject
from churnops.demo.screen import Quiet
from churnops.demo.world import Customer, World
from churnops.evaluation.delong import delong
from churnops.journal import Label, PredictionRow, new_prediction_id, open_database
from churnops.journal.labels import write_labels
from churnops.journal.layouts import Layout
from churnops.journal.predictions import write_predictions
from churnops.model import Bundle
from churnops.pipelines.run_all import run_all
from churnops.pipelines.trigger_retraining import trigger_retraining
from churnops.retraining.policy import RetrainingTask
from churnops.settings import Settings, default_config, load_settings

SEEDS, LOOPS = (int(os.environ.get(f"RECOVERY_{name}", n)) for name, n in (("SEEDS", 10), ("LOOPS", 5)))
RESOLVED = (1000, 2000)  # numbers of customers of the new world whose outcomes are known
BEFORE = 2334  # customers of the old world: two for each row of the world's first part
FRESH = 1167  # customers of the new world from each of the two other parts: two for each row
DAY = timedelta(days=1)
HORIZON = 30  # days


@dataclass(frozen=True)
class Ended:
    """Result of a retraining: ROC-AUC on new customers of the new world."""

    deployed: bool
    champion: float
    retrained: float
    alone: float  # model trained on the resolved customers of the new world only


def measure() -> Result:
    """Retrain in each world for each number of resolved customers, then run the demonstration's loop."""
    with tempfile.TemporaryDirectory() as name, redirect_stderr(StringIO()):
        first = Path(name, "first")
        run_all(_project(first))
        ended = {rows: [_retrained(first, Path(name), rows, seed) for seed in range(SEEDS)] for rows in RESOLVED}
        loops = [_looped(Path(name), seed) for seed in range(LOOPS)]
    claims: list[Claim] = []
    for rows, results in ended.items():
        subject = f"{rows:,} resolved customers of the new world"
        behind = [one.alone - one.retrained for one in results]
        mean, low, high = _interval(behind)
        claims += [
            Claim(
                f"{subject}: ROC-AUC lost against a model trained on these alone", mean, "", 0.02, low=low, high=high
            ),
            Claim(
                f"{subject}: ROC-AUC",
                statistics.mean(one.retrained for one in results),
                peer="a model trained on these alone",
                peer_measured=statistics.mean(one.alone for one in results),
            ),
            Claim(f"{subject}: ROC-AUC of the old model", statistics.mean(one.champion for one in results)),
            Claim(f"{subject}: deployed by the gate", 100 * statistics.mean(one.deployed for one in results), "%"),
        ]
    counts = [count for count, *_ in loops]
    claims.append(
        Claim(
            "the whole loop: customers between change and recovery",
            statistics.median(counts),
            "",
            low=min(counts),
            high=max(counts),
        ),
    )
    plan = DemoPlan.read()
    return Result(
        title="Recovery",
        about=(
            "In the old world, customers without voice mail leave if their bill is high, as in the telecom table. In "
            "the new world, those with the lowest bills leave (`churnops/demo/world.py`). The champion is trained on "
            f"churn-80.csv alone. The journal has {BEFORE:,} customers of the old world, then 1,000 or 2,000 of the "
            "new one. All are resolved: their outcomes are known. `churnops retrain` runs with the default settings. A "
            "second model is trained by the same search (families, trials, folds) on the resolved customers of the new "
            f"world alone. Both models are compared on {2 * FRESH:,} later customers of the new world, from rows not "
            f"used before. Means of {SEEDS} worlds."
        ),
        claims=claims,
        tables=(("The whole loop, in the demonstration's settings", _loop_table(loops)),),
        notes=(
            "Limits of differences are Student's 95 % interval over the worlds; for the whole loop they are the "
            "smallest and the largest value.",
            f"In the loop {plan.rate:g} customers a second arrive, outcomes follow {plan.label_horizon_seconds:g} s "
            f"later, the window is {plan.window_seconds:g} s and a cycle runs every {plan.cycle_seconds} s. "
            f"After the change, {plan.rate * plan.label_horizon_seconds:,.0f} customers arrive before the first of "
            "their outcomes can be known.",
        ),
    )


def _project(folder: Path) -> Settings:
    """Make a project with default settings and a model trained on churn-80.csv alone."""
    document = yaml.safe_load(default_config())
    document["data"] = {"raw": [str(ROOT / "data/raw/churn-80.csv")], "production": []}
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return load_settings(folder / "config.yaml", environment={})


def _retrained(first: Path, parent: Path, rows: int, seed: int) -> Ended:
    """Fill the journal of a copy of the project from a new world, and retrain."""
    folder = Path(shutil.copytree(first, parent / f"{rows}-{seed}", symlinks=True))
    settings = load_settings(folder / "config.yaml", environment={})
    deployed = settings.path(settings.registry.directory) / "production"
    champion = Bundle.load(deployed)
    sources = [ROOT / "data/raw/churn-20.csv", ROOT / "data/production/churn-later.csv"]
    world = World(sources, settings.table, drift=1.0, seed=seed)
    old, new = world.arrivals(BEFORE), world.arrivals(rows, changed=True)
    fresh = [*world.arrivals(FRESH, changed=True, part=1), *world.arrivals(FRESH, changed=True, part=2)]
    answer(settings, champion, [*old, *new])
    summary, _ = trigger_retraining(settings, RetrainingTask("by hand"))
    retrained = Bundle.load(deployed)
    columns, churned = _encoded(fresh, settings)
    alone = _alone(new, settings)
    values = [delong(churned, bundle.predict(columns).probability).value for bundle in (champion, retrained, alone)]
    shutil.rmtree(folder)
    return Ended(summary.status == "deployed", *values)


def answer(settings: Settings, bundle: Bundle, customers: Sequence[Customer]) -> None:
    """Record the model's predictions for customers, over sixty days until a horizon ago, and their outcomes."""
    columns, _ = _encoded(customers, settings)
    scores = bundle.predict(columns).probability.tolist()
    last = datetime.now(UTC) - (HORIZON + 1) * DAY
    step = 60 * DAY / len(customers)
    layout = Layout.of_bundle(bundle)
    rows, labels = [], []
    for i, (customer, score) in enumerate(zip(customers, scores, strict=True)):
        at = last - (len(customers) - i) * step
        inputs = {name: value for name, value in customer.document.items() if name != "customer_id"}
        churn = score >= bundle.threshold
        packed = layout.pack(inputs)
        rows.append(PredictionRow(new_prediction_id(), at, customer.id, layout, score, churn, *packed, "api"))
        labels.append(
            Label(customer.churned, customer_id=customer.id, outcome_at=at + (1 if customer.churned else HORIZON) * DAY)
        )
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        write_predictions(engine, rows)
        with engine.begin() as connection:
            write_labels(connection, labels, datetime.now(UTC))
    finally:
        engine.dispose()


def _alone(customers: Sequence[Customer], settings: Settings) -> Bundle:
    """Train on these customers only, by the search of the main job with the families of retraining."""
    columns, churned = _encoded(customers, settings)
    families = settings.retraining.families
    training = settings.training.model_copy(update={"families": families})
    return train(Customers(columns, churned == 1.0, "0" * 64), settings.model_copy(update={"training": training})).refit


def _encoded(customers: Sequence[Customer], settings: Settings) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    form = CustomerForm(settings.table)
    columns = form.encode([form.read(dict(customer.document)) for customer in customers])
    return dict(columns), np.array([customer.churned for customer in customers], dtype=np.float64)


def _looped(parent: Path, seed: int) -> tuple[int, float, float, float, float]:
    """Run the demonstration; return customers and seconds until recovery, and ROC-AUC before, meanwhile and after."""
    plan = DemoPlan.read(seed=seed)
    folder, trained = parent / f"loop-{seed}", parent / "loop-first"
    if not trained.exists():
        DemoProject(trained, plan).train()
    shutil.copytree(trained, folder, symlinks=True)
    timeline = run_loop(folder, plan, Quiet())
    recovery = timeline.recovery
    if recovery is None:
        raise SystemExit(f"no new model was deployed in world {seed}: raise patience_seconds in demo.yaml")
    seconds = (recovery.at - timeline.changed).total_seconds()
    shutil.rmtree(folder)
    return recovery.customers, seconds, recovery.before.value, recovery.meanwhile.value, recovery.after.value


def _loop_table(loops: Sequence[tuple[int, float, float, float, float]]) -> list[Sequence[str]]:
    head = ("world", "customers between change and recovery", "seconds", "ROC-AUC before", "meanwhile", "since")
    rows = [
        (str(seed), f"{count:,}", f"{seconds:.0f}", *(f"{value:.3f}" for value in values))
        for seed, (count, seconds, *values) in enumerate(loops)
    ]
    return [head, *rows]


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and Student's 95 % interval."""
    mean = statistics.mean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half
