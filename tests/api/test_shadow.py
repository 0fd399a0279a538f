"""A shadow in the service: both scores are recorded, and nothing that it does reaches an answer."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.api import shadow as module
from churnops.errors import JournalError
from churnops.experiments.shadow import look_at
from churnops.journal import JournalWriter
from churnops.journal.experiments import Experiment
from churnops.journal.shadow_scores import ShadowScores
from churnops.model import Bundle
from churnops.model.prediction import Prediction
from churnops.project import Project
from churnops.schema import Columns
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, service_of
from tests.support.experiments import start_with_threshold
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.usefixtures("quiet")  # the service scores and looks only when a test asks for it


@pytest.fixture
def shadow(api_settings: Settings) -> Experiment:
    return start_with_threshold(api_settings)


@pytest.fixture
def client(api_settings: Settings, shadow: Experiment, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.0)
    with client_of(api_settings) as client:
        yield client


def scored(client: TestClient) -> list[tuple[str, str | None, float, float]]:
    """Score the waiting customers; return all rows of the journal."""
    service = service_of(client)
    client.portal.call(service.shadow.score)
    with service.project.engine.connect() as connection:
        columns = "id, customer_id, champion, challenger"
        rows = connection.exec_driver_sql(f"SELECT {columns} FROM shadow_scores ORDER BY at, id").all()
    return [tuple(row) for row in rows]


def dropped(client: TestClient, reason: str, experiment: int = 1) -> int:
    """Return the number of dropped customers, of which the metrics and the experiment agree."""
    metrics = client.get("/metrics").text
    (value,) = re.findall(rf'^churnops_shadow_dropped_total{{reason="{reason}"}} (\S+)$', metrics, re.M)
    count = int(float(value))
    kept = service_of(client).project.experiments.get(experiment)
    assert kept is not None
    assert kept.details["dropped"] == count
    return count


def test_both_scores_of_every_answer_are_recorded(client: TestClient):
    answers = [client.post("/predict", json=a_customer()).json()]
    others = [a_customer(customer_id="C-2"), a_customer(total_day_minutes=9)]
    answers += client.post("/predict/batch", json=others).json()
    text = "\n".join([",".join(a_customer()), ",".join(map(str, a_customer(customer_id="C-4").values()))])
    uploaded = client.post("/predict/batch", content=text, headers={"content-type": "text/csv"})
    assert uploaded.status_code == 200
    rows = scored(client)
    assert [row[1] for row in rows] == ["C-1", "C-2", "C-1", "C-4"]
    expected = [(one["prediction_id"], one["churn_probability"], one["churn_probability"]) for one in answers]
    assert [(row[0], row[2], pytest.approx(row[3], abs=1e-12)) for row in rows[:3]] == expected
    assert "churnops_shadow_scored_total 4.0" in client.get("/metrics").text


def test_a_failing_challenger_costs_no_answer(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    before = client.post("/predict", json=a_customer()).json()["churn_probability"]
    challenger = service_of(client).challenger.current
    assert challenger is not None

    def fail(self: Bundle, columns: object) -> object:
        raise ValueError("it does not fit")

    monkeypatch.setattr(Bundle, "predict", fail)
    after = client.post("/predict", json=a_customer())
    assert (after.status_code, after.json()["churn_probability"]) == (200, before)
    assert scored(client) == []
    assert dropped(client, "failed") == 2


def test_a_hanging_challenger_costs_no_answer(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    """The answers come while the challenger is at work on the first customers, and the list is full."""
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    begun, hang = Event(), Event()
    predict = Bundle.predict

    def hanging(self: Bundle, columns: Columns) -> Prediction:
        begun.set()
        hang.wait()
        return predict(self, columns)

    monkeypatch.setattr(Bundle, "predict", hanging)
    client.post("/predict", json=a_customer())
    scoring = Thread(target=client.portal.call, args=(service_of(client).shadow.score,))
    scoring.start()
    assert begun.wait(PATIENCE)
    try:
        with ThreadPoolExecutor(8) as clients:
            answers = clients.map(lambda n: client.post("/predict", json=a_customer(customer_id=f"C-{n}")), range(100))
            assert {answer.status_code for answer in answers} == {200}
    finally:
        hang.set()
        scoring.join()
    assert len(scored(client)) == 10
    assert dropped(client, "list full") == 91


def test_customers_that_wait_at_the_end_are_scored(api_settings: Settings, client: TestClient):
    """Also those that the challenger is at work on when the service is told to stop."""
    client.post("/predict/batch", json=[a_customer(customer_id=f"C-{n}") for n in range(30)])
    shadow = service_of(client).shadow

    async def stop_at_work() -> None:
        scoring = asyncio.create_task(shadow.score())
        await asyncio.sleep(0)
        scoring.cancel()
        await asyncio.gather(scoring, return_exceptions=True)

    client.portal.call(stop_at_work)
    client.__exit__(None, None, None)
    with Project.open(api_settings) as project:
        assert project.shadow_scores.count(1) == 30


def test_a_failing_part_at_the_end_costs_no_other_part(
    api_settings: Settings, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PART_ROWS", 10)
    client.post("/predict/batch", json=[a_customer(customer_id=f"C-{n}") for n in range(30)])
    write, calls = ShadowScores.write, []

    def fail_first(self: ShadowScores, scores: Any) -> None:
        calls.append(scores)
        if len(calls) == 1:
            raise JournalError("the disk is full")
        write(self, scores)

    monkeypatch.setattr(ShadowScores, "write", fail_first)
    client.__exit__(None, None, None)
    with Project.open(api_settings) as project:
        assert project.shadow_scores.count(1) == 20
        shadow = project.experiments.get(1)
        assert shadow is not None
        assert shadow.details["dropped"] == 10


@pytest.mark.parametrize(("customers", "most"), [(10, 2), (400, 10)])
def test_more_scores_share_a_commit_if_the_list_is_long(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, customers: int, most: int
):
    """With slow commits the list would otherwise never end."""
    monkeypatch.setattr(module, "WRITE_ROWS", 2)
    client.post("/predict/batch", json=[a_customer(customer_id=f"C-{n}") for n in range(customers)])
    append, sizes = JournalWriter.append, []

    async def noted(self: JournalWriter, rows: Any, *, scores: Any) -> None:
        sizes.append(len(scores))
        await append(self, rows, scores=scores)

    monkeypatch.setattr(JournalWriter, "append", noted)
    assert len(scored(client)) == customers
    assert max(sizes) == most


def test_scores_that_cannot_be_written_are_counted(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    """Those of the same step that were written are not."""
    monkeypatch.setattr(module, "WRITE_ROWS", 2)
    client.post("/predict/batch", json=[a_customer(customer_id=f"C-{n}") for n in range(5)])
    append, calls = JournalWriter.append, []

    async def fail_at_second(self: JournalWriter, rows: Any, *args: Any, **kinds: Any) -> None:
        calls.append(rows)
        if len(calls) == 2:
            raise JournalError("the disk is full")
        await append(self, rows, *args, **kinds)

    monkeypatch.setattr(JournalWriter, "append", fail_at_second)
    assert [row[1] for row in scored(client)] == ["C-0", "C-1"]
    assert dropped(client, "failed") == 3


def test_a_challenger_without_files_costs_no_answer(client: TestClient, shadow: Experiment, api_settings: Settings):
    shutil.rmtree(api_settings.path("models/versions") / shadow.folder)
    service = service_of(client)
    service.challenger.current = None
    service.challenger.refresh()
    assert client.post("/predict", json=a_customer()).status_code == 200
    assert scored(client) == []
    assert dropped(client, "not loaded") == 1


def test_customers_beyond_the_list_are_dropped_and_counted(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    for number in range(5):
        assert client.post("/predict", json=a_customer(customer_id=f"C-{number}")).status_code == 200
    assert [row[1] for row in scored(client)] == ["C-0", "C-1"]
    assert dropped(client, "list full") == 3


def test_only_a_share_of_the_customers_takes_part(api_settings: Settings):
    start_with_threshold(api_settings, share=0.3)
    with client_of(api_settings) as client:
        customers = [a_customer(customer_id=f"C-{number}") for number in range(200)]
        for _ in range(2):
            client.post("/predict/batch", json=customers)
        ids = [row[1] for row in scored(client)]
    assert 35 < len(set(ids)) < 85
    assert sorted(ids) == sorted(2 * [*set(ids)])


@pytest.mark.parametrize("new", [[], ["C-1", "C-2"]])
def test_customers_of_an_ended_shadow_are_not_scored_for_the_next(
    client: TestClient, api_settings: Settings, shadow: Experiment, new: list[str]
):
    client.post("/predict", json=a_customer(customer_id="old"))
    with Project.open(api_settings) as project:
        project.experiments.end(shadow.id, "stopped", "ann", "enough")
    start_with_threshold(api_settings)
    service_of(client).challenger.refresh()
    for customer_id in new:
        client.post("/predict", json=a_customer(customer_id=customer_id))
    assert [row[1] for row in scored(client)] == new


def test_customers_of_another_champion_are_not_scored(client: TestClient, api_settings: Settings):
    service = service_of(client)
    assert service.challenger.current is not None
    service.challenger.current.experiment.__dict__["champion"] = "e" * 64
    client.post("/predict", json=a_customer())
    assert scored(client) == []


def test_the_path_and_the_metrics_show_the_newest_look(client: TestClient, api_settings: Settings, shadow: Experiment):
    client.post("/predict", json=a_customer())
    scored(client)
    look_at(service_of(client).project, shadow)
    service_of(client)._show_shadow()
    shown = client.get("/experiments/shadow").json()
    assert (shown["state"], shown["version"], shown["look"]["scored"]) == ("running", 7, 1)
    assert shown["look"]["reason"] == "no customer's label horizon has ended yet"
    assert shown["note"].startswith("Whatever contacts customers because of the champion's scores")
    assert "churnops_shadow_running 1.0" in client.get("/metrics").text
    with Project.open(api_settings) as project:
        project.experiments.end(shadow.id, "stopped", "ann", "enough")
    service_of(client)._show_shadow()
    assert "churnops_shadow_running 0.0" in client.get("/metrics").text
    assert client.get("/experiments/shadow").json()["ended_why"] == "enough"


def test_without_a_shadow_the_path_says_how_to_start_one(api_settings: Settings):
    with client_of(api_settings) as client:
        problem = assert_problem(client.get("/experiments/shadow"), 404)
    assert "churnops shadow start VERSION" in problem["detail"]
