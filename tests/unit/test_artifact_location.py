"""Where MLflow keeps the files of runs: in the folder of the settings, in an object store, or where its server says."""

from pathlib import Path

import pytest

from churnops.settings import load_settings
from churnops.tracking.runner import artifact_location
from tests.support.projects import write_project

SERVER, DATABASE = "https://mlflow.example", "postgresql+psycopg://churnops@db.example/mlflow"


@pytest.mark.parametrize(
    ("uri", "artifacts", "location"),
    [
        ("sqlite:///mlflow.db", "mlartifacts", "file://{root}/mlartifacts"),
        (DATABASE, "mlartifacts", "file://{root}/mlartifacts"),
        (DATABASE, "s3://bucket/mlflow", "s3://bucket/mlflow"),
        (SERVER, "mlartifacts", None),
        (SERVER, "s3://bucket/mlflow", None),
    ],
)
def test_the_files_of_runs_are_where_the_settings_say(tmp_path: Path, uri: str, artifacts: str, location: str | None):
    settings = load_settings(write_project(tmp_path, lambda d: d["tracking"].update(artifacts=artifacts)))
    expected = location and location.format(root=tmp_path.resolve())
    assert artifact_location(settings, uri) == expected
