"""`churnops monitor --batch` with an address: its copy is checked; `data.batches` decides whether the cycle acts."""

from pathlib import Path
from typing import Any

import click
import pytest

from churnops.cli.monitoring import _Subject
from churnops.errors import DataError
from churnops.objects import ObjectStore
from churnops.settings import Settings, load_settings
from tests.support.object_stores import memory_store
from tests.support.projects import LATER, write_project

WEEKLY = "s3://churnops-test/weekly"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store at the address `WEEKLY`, with one table."""
    store = memory_store()
    store.upload("late.csv", LATER)
    monkeypatch.setattr("churnops.data.stored.ObjectStore", {WEEKLY: store}.__getitem__)
    return store


@pytest.fixture
def settings(tmp_path: Path, store: ObjectStore) -> Settings:
    return load_settings(write_project(tmp_path, lambda d: d["data"].update(batches={"weekly": WEEKLY})))


def subject(batch: str, **options: Any) -> _Subject:
    names = ("window", "until", "act", "name", "seed")
    return _Subject(**{**dict.fromkeys(names), "batch": batch, "simulate": False, "accept_missing": (), **options})


def test_a_table_in_a_declared_folder_of_a_store_acts(settings: Settings):
    source = subject(f"{WEEKLY}/late.csv").source(settings)
    assert source.acts_as == "weekly"
    assert source.path is not None
    assert source.path.read_bytes() == LATER.read_bytes()
    assert subject(f"{WEEKLY}/late.csv", act=False).source(settings).acts_as is None
    with pytest.raises(DataError, match=f"{WEEKLY}/none.csv does not exist: put the table there"):
        subject(f"{WEEKLY}/none.csv").source(settings)


def test_a_folder_of_a_store_only_reports(settings: Settings):
    source = subject(WEEKLY).source(settings)
    assert (source.acts_as, source.path) == (None, None)
    assert (settings.path(WEEKLY) / "late.csv").read_bytes() == LATER.read_bytes()
    with pytest.raises(click.UsageError, match="a cycle on a folder only reports"):
        subject(WEEKLY, act=True).source(settings)
