"""MLflow's artifacts in S3 and Azure: a run writes them there, and commands read a version's files back."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from churnops.objects import ObjectStore
from churnops.settings import load_settings
from tests.support.deployments import opened_registry
from tests.support.object_stores import StoreServer
from tests.support.processes import CHURNOPS, QUICK, run
from tests.support.projects import quick, write_project, write_small_data


@pytest.fixture
def folder(tmp_path: Path, any_store: StoreServer) -> Path:
    def change(document: dict[str, Any]) -> None:
        quick(document)
        document["tracking"]["artifacts"] = f"{any_store.address}/mlflow"

    write_small_data(tmp_path, 300)
    write_project(tmp_path, change)
    return tmp_path


def artifacts(store: StoreServer) -> Counter[str]:
    """Return the number of artifacts of each name."""
    return Counter(entry.name.rpartition("/")[2] for entry in ObjectStore(store.address).entries("mlflow"))


def test_a_run_keeps_its_artifacts_in_a_store(folder: Path, any_store: StoreServer):
    assert json.loads(run(CHURNOPS, "run", "--json", cwd=folder, **QUICK).stdout)["status"] == "deployed"
    assert not (folder / "mlartifacts").exists()
    names = artifacts(any_store)
    assert {"bundle.json", "evaluation.html", "merged.parquet"} < set(names)
    promoted = run(CHURNOPS, "promote", "1", "--reason", "read back", "--json", cwd=folder)
    assert json.loads(promoted.stdout)["status"] == "unchanged"
    run(CHURNOPS, "models", "card", cwd=folder)
    assert (folder / "model_card.html").is_file()
    with opened_registry(load_settings(folder / "config.yaml")) as registry:
        assert registry.owns_files(1)
        assert registry.remove_files(1) > 10_000
        assert registry.remove_files(1) == 0
    left = artifacts(any_store)
    assert (left["bundle.json"], left["evaluation.html"]) == (names["bundle.json"] - 1, 1)


def test_a_failing_store_of_artifacts_is_one_line(folder: Path):
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("://churnops-test/", "://no-such-bucket/"))
    refused = run(CHURNOPS, "run", cwd=folder, code=2, **QUICK)
    assert re.search(r"the store of MLflow's artifacts \w+://no-such-bucket[/@]", refused.stderr)
    assert re.search("NoSuchBucket|container does not exist", refused.stderr)
    assert len(refused.stderr.strip().splitlines()) == 1
