"""A service for an invented table."""

from pathlib import Path

import polars as pl
import yaml

from churnops.data.merge import merge
from churnops.data.preprocess import preprocess
from churnops.data.read import encode, outcomes
from churnops.data.validate import validate_data
from churnops.settings import Settings, load_settings
from churnops.training.select import select_features
from churnops.training.train import train_models

QUICK = """
training: {folds: 3, families: [logistic_regression], trials: {logistic_regression: 1}}
data: {production: []}
"""


def own_service(folder: Path, config: str, table: pl.DataFrame) -> Settings:
    """Train one model of a table, and put it where the service looks."""
    (folder / "data").mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(yaml.safe_load(QUICK) | yaml.safe_load(config)))
    table.write_csv(folder / "data/raw.csv")
    settings = load_settings(folder / "config.yaml")
    schema = settings.table
    merged = merge(validate_data([folder / "data/raw.csv"], [], schema).raw, schema).table
    columns = encode(merged, schema)
    prepared = preprocess(
        columns, outcomes(merged, schema) == 1.0, schema.model_inputs, sha256="0" * 64, held_out=0.2, seed=1
    )
    trained = train_models(prepared, select_features(prepared, schema, settings.features), settings)
    (folder / "models/versions").mkdir(parents=True)
    trained.refit.save(folder / "models/versions/own")
    (folder / "models/production").symlink_to("versions/own")
    return settings
