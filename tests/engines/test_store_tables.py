"""Tables in S3: a training run on them, and customers scored from the store into it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from churnops.objects import ObjectStore
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings, load_settings
from tests.support.deployments import copy
from tests.support.object_stores import StoreServer
from tests.support.processes import CHURNOPS, run


@pytest.fixture
def here(tmp_path: Path, project: tuple[Settings, RunSummary], s3: StoreServer) -> Settings:
    """A project with a deployed model, whose tables are only in the store."""
    settings = copy(project[0].root, tmp_path / "project")
    store = ObjectStore(s3.address)
    for folder in (*settings.data.raw, *settings.data.production):
        for file in settings.path(folder).iterdir():
            store.upload(f"{folder}/{file.name}", file)
    document = yaml.safe_load(settings.path("config.yaml").read_text(encoding="utf-8"))
    for name in ("raw", "production"):
        document["data"][name] = [f"{s3.address}/{folder}" for folder in document["data"][name]]
    settings.path("config.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    settings.path("data").rename(settings.path("local"))
    return load_settings(settings.path("config.yaml"))


def churnops(settings: Settings, *arguments: str, code: int = 0) -> str:
    done = run(CHURNOPS, *arguments, cwd=settings.root, code=code)
    return done.stdout + done.stderr


def test_a_run_on_tables_in_a_store_gives_the_same_model(here: Settings):
    assert json.loads(churnops(here, "config", "check", "--json"))["tables"]
    assert json.loads(churnops(here, "run", "--json"))["status"] == "unchanged"


def test_customers_are_scored_from_a_store_into_it(here: Settings, s3: StoreServer):
    store = ObjectStore(s3.address)
    [table] = here.path("local/production").glob("*.csv")
    source, target = f"{s3.address}/data/production/{table.name}", f"{s3.address}/scored.csv"
    churnops(here, "predict", str(table), "expected.csv")
    assert f"Results: {target}" in churnops(here, "predict", source, target)
    scored = store.read("scored.csv", max_bytes=2**30)
    assert scored is not None
    assert scored.data == here.path("expected.csv").read_bytes()
    copied = here.path(source).stat()
    for given in ([], ["--force"]):
        refused = churnops(here, "predict", source, source if given else target, *given, code=2)
        assert "exists already: name another one" in refused
    churnops(here, "predict", source, target, "--force")
    assert here.path(source).stat() == copied  # not copied again
    assert not [path for path in here.path("tables-copy/results").rglob("*") if path.is_file()]

    assert "does not exist: put the table there" in churnops(here, "predict", f"{s3.address}/no.csv", target, code=2)
    folder = f"{s3.address}/data/production"
    churnops(here, "predict", folder, f"{s3.address}/parts")
    names = {entry.name.rpartition("/")[2] for entry in store.entries("parts")}
    assert {"_SUCCESS", "manifest.json"} < names
    assert "exists already" in churnops(here, "predict", folder, f"{s3.address}/parts", code=2)


def test_customers_in_a_store_are_monitored_as_those_in_files(here: Settings, s3: StoreServer):
    [table], folder = here.path("local/production").glob("*.csv"), f"{s3.address}/data/production"

    def report(batch: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(churnops(here, "monitor", "--batch", batch, "--no-retrain", "--json"))
        return answer["report"]

    expected = report(str(table))
    whole, parts = report(f"{folder}/{table.name}"), report(folder)
    assert whole["rows"] == parts["rows"] == expected["rows"] > 0
    for name in ("feature_drift", "prediction_drift", "target_drift"):
        assert whole[name] == expected[name]
    assert whole["performance"]["metrics"] == expected["performance"]["metrics"]
    assert (whole["acts_as"], parts["acts_as"]) == (None, None)

    config = here.path("config.yaml")
    document = yaml.safe_load(config.read_text(encoding="utf-8"))
    document["data"] |= {"production": [], "batches": {"weekly": folder}}
    config.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert report(f"{folder}/{table.name}")["acts_as"] == "weekly"
    absent = churnops(here, "monitor", "--batch", f"{folder}/no.csv", code=2)
    assert f"{folder}/no.csv does not exist: put the table there" in absent


def test_a_result_that_cannot_be_copied_to_its_store_is_named(here: Settings, s3: StoreServer):
    [table] = here.path("local/production").glob("*.csv")
    refused = churnops(here, "predict", str(table), "s3://no-such-bucket/scored.csv", code=2)
    assert "s3://no-such-bucket/scored.csv" in refused
    assert "the store answers 404" in refused
    assert s3.variables["AWS_SECRET_ACCESS_KEY"] not in refused
