"""The application over a copy of the small project's deployment, with a journal and keys of its own."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.api.main import create_app
from churnops.journal.database import open_database
from churnops.journal.keys import KeyStore
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings, load_settings
from tests.conftest import write_project

LOCAL = ("127.0.0.1", 50000)


@pytest.fixture
def make_settings(tmp_path: Path, project: tuple[Settings, RunSummary]) -> Callable[..., Settings]:
    """Make a project with the small project's model deployed; keyword arguments change sections of its settings."""

    def make(**sections: dict[str, Any]) -> Settings:
        def change(document: dict[str, Any]) -> None:
            for name, values in sections.items():
                document[name] |= values

        if not (tmp_path / "models").exists():
            shutil.copytree(project[0].path("models"), tmp_path / "models", symlinks=True)
        return load_settings(write_project(tmp_path, change))

    return make


@pytest.fixture
def api_settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


def client_of(settings: Settings, key: str | None = None) -> TestClient:
    headers = {"x-api-key": key} if key else {}
    return TestClient(create_app(settings), base_url="http://127.0.0.1", client=LOCAL, headers=headers)


def make_key(settings: Settings, *scopes: str, name: str = "tests") -> str:
    engine = open_database(settings.database_url(settings.journal.url))
    token = KeyStore(engine).add(name, scopes)
    engine.dispose()
    return token


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
    return json.loads(
        """{"customer_id": "C-1", "state": "KS", "account_length": 128, "area_code": "415", "international_plan": "No",
            "voice_mail_plan": "Yes", "number_vmail_messages": 25, "total_day_minutes": 265.1, "total_day_calls": 110,
            "total_day_charge": 45.07, "total_eve_minutes": 197.4, "total_eve_calls": 99, "total_eve_charge": 16.78,
            "total_night_minutes": 244.7, "total_night_calls": 91, "total_night_charge": 11.01,
            "total_intl_minutes": 10.0, "total_intl_calls": 3, "total_intl_charge": 2.7, "customer_service_calls": 1}"""
    )


