"""The application over a copy of the small project's deployment, with a journal and keys of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.api import service as services
from churnops.api.service import Service
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.api import a_customer, client_of
from tests.support.processes import PATIENCE
from tests.support.projects import deployed


@pytest.fixture
def make_settings(tmp_path: Path, project: tuple[Settings, RunSummary]) -> Callable[..., Settings]:
    """Make a project with the small project's model deployed; keyword arguments change sections of its settings."""
    return lambda **sections: deployed(tmp_path, project[0], **sections)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the service's own limits, which a busy machine may exceed although nothing hangs."""
    monkeypatch.setattr(services, "CHECK_SECONDS", PATIENCE)
    monkeypatch.setattr(services, "CLOSE_SECONDS", PATIENCE)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the service from its background work, so that only the test does it, and nothing else is logged."""

    async def idle(_: Service) -> None:
        return

    monkeypatch.setattr(Service, "keep_house", idle)


@pytest.fixture
def api_settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def client(api_settings: Settings) -> Iterator[TestClient]:
    """A client from this machine, where no key exists."""
    with client_of(api_settings) as client:
        yield client


@pytest.fixture
def bundle(api_settings: Settings) -> Bundle:
    return Bundle.load(api_settings.path("models/production"))


@pytest.fixture
def customer() -> dict[str, Any]:
    """A customer of the raw table, with every input."""
    return a_customer()
