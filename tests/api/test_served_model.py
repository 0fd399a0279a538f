"""The served model: a valid deployment is followed; a damaged one is refused and the old model stays."""

import asyncio
import json
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.api.problems import Problem
from churnops.api.served import ServedModel
from churnops.api.work import Threads
from churnops.errors import BundleError
from churnops.model import Bundle
from churnops.settings import Settings
from tests.support.api import assert_problem, client_of
from tests.support.processes import PATIENCE, wait_for


def link(models: Path, target: str | Path) -> None:
    production = models / "production"
    production.unlink(missing_ok=True)
    production.symlink_to(target)


def folder_of(models: Path) -> Path:
    return (models / "production").resolve()


def copy_of(models: Path, name: str) -> Path:
    copy = models / "versions" / name
    shutil.copytree(folder_of(models), copy)
    return copy


def damaged_copy(models: Path, name: str) -> Path:
    copy = copy_of(models, name)
    document = copy / "bundle.json"
    document.write_text(document.read_text().replace('"threshold": 0.5', '"threshold": 0.4'))
    with pytest.raises(BundleError):
        Bundle.load(copy)
    return copy


@pytest.fixture
def models(api_settings: Settings) -> Path:
    return api_settings.path("models")


def refreshed(served: ServedModel, *, again: bool = False) -> ServedModel:
    asyncio.run(served.refresh(again=again))
    return served


def test_without_a_model_there_is_no_answer(tmp_path: Path):
    served = refreshed(ServedModel(tmp_path, Threads("loading", 1)))
    assert (served.current, served.refused) == (None, None)
    with pytest.raises(Problem, match="churnops run") as refused:
        served.require()
    assert refused.value.status == 503


def test_the_deployed_model_is_loaded_once(models: Path):
    served = refreshed(ServedModel(models, Threads("loading", 1)))
    first = served.require()
    assert first.folder == folder_of(models).name
    assert refreshed(served).require() is first
    assert refreshed(served, again=True).require() is not first


def test_a_new_deployment_is_followed(models: Path):
    served = refreshed(ServedModel(models, Threads("loading", 1)))
    link(models, copy_of(models, "another"))
    assert refreshed(served).require().folder == "another"


def test_a_damaged_deployment_is_refused_and_a_good_one_clears_it(models: Path):
    served = refreshed(ServedModel(models, Threads("loading", 1)))
    first, good = served.require(), folder_of(models)
    link(models, damaged_copy(models, "damaged"))
    assert refreshed(served).require() is first
    assert served.refused
    assert str(models) not in served.refused
    link(models, good)
    assert refreshed(served).refused is None
    assert served.require().folder == good.name


def test_a_damaged_deployment_is_not_loaded_at_every_look(models: Path, monkeypatch: pytest.MonkeyPatch):
    link(models, damaged_copy(models, "damaged"))
    served = refreshed(ServedModel(models, Threads("loading", 1)))
    monkeypatch.setattr(Bundle, "load", lambda folder: pytest.fail("it is damaged still"))
    refreshed(served)
    with pytest.raises(Problem, match="refused"):
        served.require()


def test_a_damaged_deployment_is_loaded_when_its_folder_is_replaced(models: Path):
    damaged, good = damaged_copy(models, "damaged"), copy_of(models, "good")
    link(models, damaged)
    served = refreshed(ServedModel(models, Threads("loading", 1)))
    assert served.refused
    damaged.rename(models / "versions" / "old")
    assert "was changed" in str(refreshed(served).refused)  # while there is none
    good.rename(damaged)
    assert refreshed(served).refused is None
    assert served.require().folder == "damaged"


def test_a_link_that_was_gone_and_is_back_is_followed_again(models: Path):
    served = refreshed(ServedModel(models, Threads("loading", 1)))
    first, good = served.require(), folder_of(models)
    (models / "production").unlink()
    assert refreshed(served).require() is first
    assert "has no target" in str(served.refused)
    link(models, good)
    assert refreshed(served).refused is None


@pytest.mark.parametrize("target", ["production", "nowhere", "../config.yaml", "/dev/null", "."])
def test_a_link_to_anything_else_leaves_the_old_model(models: Path, target: str):
    served = refreshed(ServedModel(models, Threads("loading", 1)))
    first = served.require()
    link(models, target)
    assert refreshed(served).require() is first
    assert served.refused


def test_a_service_without_a_model_starts_and_answers_with_the_first(
    make_settings, tmp_path: Path, customer: dict[str, Any]
):
    settings = make_settings()
    (tmp_path / "models").rename(tmp_path / "later")
    with client_of(settings) as client:
        for method, path in (
            ("POST", "/predict"),
            ("GET", "/model"),
            ("GET", "/health/ready"),
            ("POST", "/model/reload"),
        ):
            body = customer if path == "/predict" else None
            response = client.request(method, path, json=body)
            assert "churnops run" in assert_problem(response, 503)["detail"]
            assert int(response.headers["retry-after"]) > 0
        assert client.get("/health/live").status_code == 200
        assert client.get("/openapi.json").json()["components"]["schemas"]["Customer"]["type"] == "object"
        (tmp_path / "later").rename(tmp_path / "models")
        wait_for("it is ready", lambda: client.get("/health/ready").status_code == 200)
        assert client.post("/predict", json=customer).status_code == 200


def test_the_service_reports_a_refused_deployment(api_settings: Settings, models: Path, customer: dict[str, Any]):
    good = folder_of(models)
    with client_of(api_settings) as client:
        version = client.get("/model").json()["model_version"]
        link(models, damaged_copy(models, "damaged"))
        response = client.post("/model/reload")
        assert "refused" in assert_problem(response, 409)["detail"]
        assert str(api_settings.root) not in response.text
        ready = client.get("/health/ready").json()
        assert ready["model_version"] == version
        assert "refused" in ready["warnings"][0]
        assert "churnops_model_refused 1.0" in client.get("/metrics").text
        assert client.post("/predict", json=customer).json()["model_version"] == version
        link(models, good)
        assert client.post("/model/reload").json()["model_version"] == version
        assert client.get("/health/ready").json()["warnings"] == []
        assert "churnops_model_refused 0.0" in client.get("/metrics").text


def test_a_failed_look_does_not_stop_following_deployments(
    api_settings: Settings, models: Path, monkeypatch: pytest.MonkeyPatch
):
    """Otherwise a service would keep revoked keys and an old model for ever."""
    real, looked = Bundle.load, Event()

    def fail(_: Path) -> Bundle:
        looked.set()
        raise ZeroDivisionError

    with client_of(api_settings) as client:
        monkeypatch.setattr(Bundle, "load", fail)
        link(models, copy_of(models, "another"))
        assert looked.wait(PATIENCE)
        assert client.get("/model").json()["deployment"] != "another"
        monkeypatch.setattr(Bundle, "load", real)
        wait_for("it is followed", lambda: client.get("/model").json()["deployment"] == "another")


def test_a_request_is_answered_wholly_by_one_model(api_settings: Settings, models: Path, customer: dict[str, Any]):
    copies = [copy_of(models, "one"), copy_of(models, "two")]
    with client_of(api_settings) as client:
        for number in range(20):
            link(models, copies[number % 2])
            client.post("/model/reload")
            answers = client.post("/predict/batch", json=[customer] * 5).json()
            assert len({answer["model_version"] for answer in answers}) == 1


def test_the_model_is_described_for_people(client: TestClient, bundle: Bundle, api_settings: Settings):
    response = client.get("/model")
    document = response.json()
    assert str(api_settings.root) not in response.text
    assert "/tmp" not in response.text
    assert "/home" not in response.text
    assert [feature["name"] for feature in document["features"]] == list(bundle.selected)
    for feature in document["features"]:
        assert len(feature["description"]) > 8, feature
        assert feature["description"][0].isupper(), feature
        assert "_" not in feature["description"], feature
    derived = {feature["name"]: feature for feature in document["features"]}
    for declared in api_settings.features.derived:
        if declared.name in derived:
            assert derived[declared.name]["description"] == declared.description
    assert {column["name"] for column in document["schema"]["columns"]} == set(bundle.schema.by_name)
    assert document["content_sha256"] == bundle.content_sha256
    assert json.loads(response.text) == document
