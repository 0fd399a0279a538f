"""The seven steps without MLflow, in their own process: `python -m benchmarks.untracked CONFIG`.

Deployment (a bundle folder, a few rows in the journal) is left out, so `pipeline` counts its cost as MLflow's.
"""

import sys
from pathlib import Path

from benchmarks.product import Project, prepare
from churnops.data.skipped import Skipped
from churnops.evaluation.held_out import evaluate_models
from churnops.journal import open_database
from churnops.journal.cycles import CycleLog
from churnops.monitoring import ModelMonitor
from churnops.monitoring.collect import batch_from_columns
from churnops.settings import load_settings
from churnops.training.train import train_models


def main(config: Path) -> None:
    """Run the steps on the project of `config`."""
    settings = load_settings(config, environment={})
    project = Project(settings)
    prepared, features = prepare(project.raw, settings)
    trained = train_models(prepared, features, settings)
    evaluated = evaluate_models(
        {name: model.bundle for name, model in trained.models.items()},
        trained.winner,
        trained.refit,
        prepared,
        settings,
        skipped=Skipped(),
        left_out=features.left_out,
    )
    later, bundle = project.production, evaluated.bundle
    engine = open_database(settings.database_url(settings.journal.url))
    batch = batch_from_columns(later.columns, later.outcome.astype(float), bundle, "later", acts_as="data.production")
    ModelMonitor(settings, CycleLog(engine)).run_batch(bundle, batch)
    engine.dispose()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
