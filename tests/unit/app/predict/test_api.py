"""The Predict page with a real API: the deployed model's numbers, and one sentence for every failure."""

import io
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churnops.app.predict import api_answers
from churnops.app.predict.answers import BundleAnswers, NotAnswered
from churnops.app.predict.api_answers import ApiAnswers, answers
from churnops.app.predict.form import HIGH, LOW, TYPICAL, presets
from churnops.app.predict.upload import score_file
from churnops.app.shared.text import plain
from churnops.client import Reply
from churnops.errors import SettingsError
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.settings import ENV_CONFIG, ENV_DASHBOARD_KEY, Settings, load_settings
from churnops.wire import PROBLEM, ProblemBody
from tests.support.api import make_key
from tests.support.app_pages import SAID, ask, press, said
from tests.support.processes import PATIENCE
from tests.support.projects import LATER, deployed, write_project
from tests.support.serving import Server, sqlite_rows

KEPT = {"csv": pl.read_csv, "parquet": pl.read_parquet}


@dataclass(frozen=True)
class Service:
    """The API, in a process of its own, and keys to ask it with."""

    settings: Settings
    bundle: Bundle
    url: str
    key: str
    label_key: str

    @property
    def answers(self) -> ApiAnswers:
        return ApiAnswers(self.url, self.key)

    def predictions(self) -> int:
        return len(sqlite_rows(self.settings))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the API answer late: a busy machine does."""
    for limit in ("CARD_SECONDS", "ANSWER_SECONDS", "FILE_SECONDS"):
        monkeypatch.setattr(api_answers, limit, PATIENCE)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[Service]:
    settings = deployed(tmp_path_factory.mktemp("served"), project[0], api={"max_upload_rows": 50})
    key, label_key = make_key(settings, "predict", name="dashboard"), make_key(settings, "label", name="crm")
    bundle = Bundle.load(settings.path("models/production").resolve())
    with Server(settings) as server:
        yield Service(settings, bundle, f"http://127.0.0.1:{server.port}", key, label_key)


@pytest.fixture(scope="module")
def starts(service: Service, project: tuple[Settings, RunSummary]) -> Mapping[str, Mapping[str, Any]]:
    return presets(service.bundle, project[0].root / "models")


def table(rows: int, kind: str) -> bytes:
    given = pl.read_csv(LATER, schema_overrides={"Area code": pl.String}).head(rows)
    buffer = io.BytesIO()
    if kind == "csv":
        given.write_csv(buffer)
    else:
        given.write_parquet(buffer)
    return buffer.getvalue()


def refused(api: ApiAnswers) -> str:
    """Return the sentence of the refusal; each kind of question is refused with the same one."""
    with pytest.raises(NotAnswered) as error:
        api.card()
    with pytest.raises(NotAnswered) as again:
        api.one({"total_day_minutes": 1.0})
    assert str(error.value) == str(again.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_api_describes_the_model_as_the_model_does_itself(service: Service):
    assert service.answers.card() == BundleAnswers(service.bundle).card()


def test_the_api_and_the_model_give_one_customer_the_same_answer(
    service: Service, starts: Mapping[str, Mapping[str, Any]]
):
    for name in (HIGH, TYPICAL, LOW):
        before = service.predictions()
        by_api, here = service.answers.one(starts[name]), BundleAnswers(service.bundle).one(starts[name])
        assert by_api.prediction_id is not None
        assert service.predictions() == before + 1
        assert here == type(here)(**{**vars(by_api), "prediction_id": None})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_api_and_the_model_answer_a_file_alike(service: Service, kind: str):
    before = service.predictions()
    content, card = table(30, kind), service.answers.card()
    by_api = score_file(f"later.{kind}", content, service.answers, card, service.bundle)
    here = score_file(f"later.{kind}", content, BundleAnswers(service.bundle), card, service.bundle)
    assert by_api.risks.equals(here.risks)
    assert (by_api.rows, by_api.leaving, by_api.version) == (here.rows, here.leaving, here.version)
    answered = KEPT[kind](by_api.content)
    assert answered.drop("prediction_id").equals(KEPT[kind](here.content))
    assert answered["prediction_id"].n_unique() == 30
    assert service.predictions() == before + 30


def test_a_customer_or_file_that_breaks_rules_is_listed_not_recorded(service: Service):
    before = service.predictions()
    with pytest.raises(NotAnswered, match="The API refuses the request: ") as one:
        service.answers.one({"total_day_minutes": -1})
    assert "total_day_minutes" in {rule.column for rule in one.value.broken}
    bad = table(9, "csv").replace(b",No,No,", b",Maybe,No,")
    with pytest.raises(NotAnswered, match="The API refuses the request: ") as file:
        score_file("a.csv", bad, service.answers, service.answers.card(), service.bundle)
    assert [rule.column for rule in file.value.broken] == ["international_plan"]
    assert file.value.broken[0].rows == "1"
    assert service.predictions() == before


def test_a_limit_of_the_api_is_reported_in_the_apis_words(service: Service):
    with pytest.raises(NotAnswered, match=r"The API refuses the request: .*50"):
        score_file("a.csv", table(60, "csv"), service.answers, service.answers.card(), service.bundle)


def test_a_missing_wrong_or_unscoped_key_explains_how_to_make_one(service: Service):
    for key in ("", "churnops_000000000000_wrong", service.label_key):
        text = refused(ApiAnswers(service.url, key))
        assert "churnops keys add" in text
        assert ENV_DASHBOARD_KEY in text
        assert not key or key not in text


def test_a_malformed_key_is_refused_before_sending_and_not_shown():
    with pytest.raises(SettingsError, match=ENV_DASHBOARD_KEY) as error:
        ApiAnswers("http://127.0.0.1:9", "two\nlines")
    assert "two" not in str(error.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "file:///etc/passwd", "javascript:alert(1)", "http://"])
def test_only_http_addresses_are_asked(service: Service, url: str):
    settings = service.settings.model_copy(
        update={"dashboard": service.settings.dashboard.model_copy(update={"api_url": url})}
    )
    with pytest.raises(SettingsError, match="dashboard"):
        answers(settings, None)


def test_an_api_that_is_down_is_reported_with_the_start_command():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        text = refused(ApiAnswers(f"http://127.0.0.1:{nobody.getsockname()[1]}", ""))
    assert "does not answer" in text
    assert "churnops serve" in text


def test_an_api_without_a_model_is_reported(tmp_path: Path):
    with Server(load_settings(write_project(tmp_path))) as server:
        text = refused(ApiAnswers(f"http://127.0.0.1:{server.port}", ""))
    assert "no model is deployed" in text
    assert "churnops run" in text


@pytest.mark.parametrize(
    "change",
    [
        {"churn_probability": 1.5},
        {"churn_probability": None},
        {"base_value": "x"},
        {"explanation_scale": "odds"},
        {"top_shap_features": [{}] * 101},
        {"model_version": "x" * 501},
    ],
    ids=str,
)
def test_an_answer_of_another_form_is_refused(
    service: Service, starts: Mapping[str, Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
):
    api = service.answers
    ask_api = api._client.ask

    def changed(*arguments: Any, **options: Any) -> Reply:
        reply = ask_api(*arguments, **options)
        return Reply(reply.status, reply.media_type, json.dumps(json.loads(reply.content) | change).encode())

    monkeypatch.setattr(api._client, "ask", changed)
    with pytest.raises(NotAnswered, match=r"does not answer as the API of churnops does .*dashboard\.api_url"):
        api.one(starts[LOW])


@pytest.mark.parametrize(
    ("status", "content"), [(200, b"<html>evil"), (302, b""), (404, b"{}"), (500, b"[" * 9999), (200, b"\xff")]
)
def test_another_program_at_the_address_is_reported(
    service: Service, monkeypatch: pytest.MonkeyPatch, status: int, content: bytes
):
    api = service.answers
    monkeypatch.setattr(api._client, "ask", lambda *_, **__: Reply(status, "text/html", content))
    text = refused(api)
    assert f"(status {status})" in text
    assert "evil" not in text


def test_after_too_many_requests_the_user_is_asked_to_wait(service: Service, monkeypatch: pytest.MonkeyPatch):
    api = service.answers
    body = ProblemBody(type=f"{PROBLEM}rate", title="X", status=429, detail="evil", request_id="1")
    problem = body.model_dump_json().encode()
    monkeypatch.setattr(api._client, "ask", lambda *_, **__: Reply(429, "application/problem+json", problem))
    assert "Wait a moment" in refused(api)


# The page


@pytest.fixture
def asked(service: Service, monkeypatch: pytest.MonkeyPatch, no_caches: None) -> Service:
    """The dashboard reads the served project, and asks its API."""
    monkeypatch.setenv(ENV_CONFIG, str(service.settings.root / "config.yaml"))
    monkeypatch.setenv("CHURNOPS_DASHBOARD__API_URL", service.url)
    monkeypatch.setenv(ENV_DASHBOARD_KEY, service.key)
    return service


def test_the_page_names_the_api_and_its_records_and_what_if_has_none(asked: Service, show: Any):
    before = asked.predictions()
    page = ask(show("predict"), HIGH)
    assert f"Predictions by the API at {asked.url}, model {asked.bundle.version_name}." in said(page)
    assert "Predictions are recorded in its journal." in said(page)
    assert asked.predictions() == before + 1
    assert sqlite_rows(asked.settings)[-1][0] in said(page)
    for _ in range(3):
        slider = page.slider[0]
        slider.set_value(slider.min if slider.value != slider.min else slider.max).run()
    assert SAID["moved"] in said(page)
    assert asked.predictions() == before + 1
    assert asked.key not in said(page)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (ENV_DASHBOARD_KEY, "churnops_000000000000_wrong", "churnops keys add"),
        ("CHURNOPS_DASHBOARD__API_URL", "http://127.0.0.1:1", "churnops serve"),
        ("CHURNOPS_DASHBOARD__API_URL", "javascript:evil()", "dashboard.api_url"),
    ],
)
def test_when_the_api_does_not_answer_the_page_is_one_sentence(
    asked: Service, show: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
):
    monkeypatch.setenv(variable, value)
    page = show("predict")
    assert not page.exception
    assert len(page.error) == 1
    assert plain(told) in page.error[0].value
    assert value not in page.error[0].value
    assert not page.number_input


def test_an_api_that_stops_between_requests_is_reported_by_the_form(
    asked: Service, show: Any, monkeypatch: pytest.MonkeyPatch
):
    page = ask(show("predict"), HIGH)
    monkeypatch.setattr(ApiAnswers, "one", lambda *_: (_ for _ in ()).throw(NotAnswered("It **stopped**.")))
    filled = [box.value for box in page.number_input]
    press(page, "Predict")
    assert [error.value for error in page.error] == [plain("It **stopped**.")]
    assert not page.metric
    assert [box.value for box in page.number_input] == filled


def test_without_a_local_model_the_api_answers_and_what_if_explains(
    asked: Service, show: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starts: Mapping[str, Mapping[str, Any]]
):
    monkeypatch.setenv(ENV_CONFIG, str(write_project(tmp_path)))
    page = show("predict")
    assert not page.exception
    assert HIGH not in [button.label for button in page.button]
    press(page, "Predict")
    assert page.error[0].value.startswith("Fill in ")
    for box in [*page.number_input, *page.selectbox]:
        name = (box.key or "").split(":")[1]
        box.set_value(starts[HIGH].get(name))
    press(page, "Predict")
    assert [metric.label for metric in page.metric] == ["Probability of leaving"]
    assert "There are no sliders: the model of this prediction" in said(page)
