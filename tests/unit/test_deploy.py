"""Deploying: after a crash between any two steps the old model answers or the new one does, and the log catches up."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from churnops.errors import BundleError, RegistryError
from churnops.journal import DeploymentLog
from churnops.journal.database import open_database
from churnops.model import Bundle
from churnops.registry import DeploymentFolder
from churnops.training.train import TrainedModels


class ProcessEndsError(Exception):
    """The process ends here."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DeploymentLog]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    yield DeploymentLog(engine)
    engine.dispose()


@pytest.fixture
def aliases() -> list[str]:
    """Content hashes of what was made production, in order."""
    return []


@pytest.fixture
def folder(tmp_path: Path, log: DeploymentLog, aliases: list[str]) -> DeploymentFolder:
    return DeploymentFolder(tmp_path / "models", log, aliases.append)


@pytest.fixture
def bundles(trained: TrainedModels) -> tuple[Bundle, Bundle]:
    return trained.models["decision_tree"].bundle, trained.models["xgboost"].bundle


def answers(folder: DeploymentFolder) -> str:
    production = folder.production()
    assert production is not None
    return production.algorithm


def test_the_newest_deployment_answers_and_older_ones_stay(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], aliases: list[str], log: DeploymentLog
):
    assert folder.production() is None
    assert folder.current() is None
    first = folder.deploy(bundles[0], 1, "first")
    assert answers(folder) == "decision_tree"
    second = folder.deploy(bundles[1], 2, "second")
    assert answers(folder) == "xgboost"
    assert folder.current() == second.name
    assert second.name.endswith("-xgboost-v2")
    assert Bundle.load(first).algorithm == "decision_tree"
    assert aliases == [bundle.content_sha256 for bundle in bundles]
    assert [(d.folder, d.previous, d.reason, d.closed) for d in log.history()] == [
        (first.name, None, "first", "done"),
        (second.name, first.name, "second", "done"),
    ]
    assert sorted(p.name for p in folder.folder.iterdir()) == ["production", "versions"]


STEPS: dict[str, Callable[[DeploymentFolder, pytest.MonkeyPatch], None]] = {
    "while the folder is written": lambda f, m: m.setattr("churnops.model.bundle.os.fsync", stop),
    "before the intent": lambda f, m: m.setattr(f.log, "open_intent", stop),
    "before the link": lambda f, m: m.setattr(f, "_swap", stop),
    "before the aliases": lambda f, m: m.setattr(f, "_move_aliases", stop),
    "before the intent is closed": lambda f, m: m.setattr(f.log, "close", stop),
}


def stop(*_args: object, **_kwargs: object) -> None:
    raise ProcessEndsError


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_between_any_two_steps(
    step: str, folder: DeploymentFolder, bundles: tuple[Bundle, Bundle], aliases: list[str], log: DeploymentLog,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    folder.deploy(bundles[0], 1, "first")
    with monkeypatch.context() as patch:
        STEPS[step](folder, patch)
        with pytest.raises(ProcessEndsError):
            folder.deploy(bundles[1], 2, "second")
    swapped = step in ("before the aliases", "before the intent is closed")
    assert answers(folder) == ("xgboost" if swapped else "decision_tree")

    # Another process comes: it finishes what was swapped and undoes the rest; twice is as good as once.
    other = DeploymentFolder(folder.folder, log, aliases.append)
    other.recover()
    other.recover()
    assert log.open_intents() == []
    assert aliases[-1] == bundles[1 if swapped else 0].content_sha256
    assert answers(other) == ("xgboost" if swapped else "decision_tree")
    assert not list(folder.folder.glob("versions/.unfinished-*"))

    other.deploy(bundles[1], 3, "again")
    assert answers(other) == "xgboost"
    assert log.history()[-1].closed == "done"


def test_a_damaged_production_is_an_error_and_stays_where_it_is(
    folder: DeploymentFolder, bundles: tuple[Bundle, Bundle]
):
    saved = folder.deploy(bundles[0], 1, "first")
    document = json.loads((saved / "bundle.json").read_text())
    (saved / "bundle.json").write_text(json.dumps(document | {"threshold": 0.9}))
    with pytest.raises(BundleError, match="was changed"):
        folder.production()
    assert folder.current() == saved.name


def test_what_churnops_did_not_make_is_not_replaced(folder: DeploymentFolder, bundles: tuple[Bundle, Bundle]):
    folder.link.mkdir(parents=True)
    with pytest.raises(RegistryError, match="move it away first"):
        folder.deploy(bundles[0], 1, "first")
    with pytest.raises(RegistryError, match="move it away first"):  # and a run says so before it trains
        folder.production()
    assert folder.link.is_dir()


def test_a_link_to_itself_is_refused(folder: DeploymentFolder):
    folder.folder.mkdir()
    folder.link.symlink_to("production")
    with pytest.raises(BundleError, match=r"a link to itself|bundle\.json is missing"):
        folder.production()
