"""A split in the service: each customer's arm answers, on every way, and a broken challenger costs no answer."""

import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from threading import Event, current_thread
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from churnops.api import split as module
from churnops.api.uploads import tables
from churnops.experiments.assignment import arm_of, challengers
from churnops.experiments.split import report_of, stop_split
from churnops.journal.experiments import Experiment
from churnops.journal.exposures import Exposure
from churnops.model import Bundle
from churnops.project import Project
from churnops.scoring import challenged
from churnops.scoring.arms import Arms
from churnops.settings import Settings
from tests.support.api import a_customer, client_of, service_of
from tests.support.experiments import start_with_threshold
from tests.support.processes import PATIENCE, wait_for

IDS = [f"C-{number}" for number in range(12)]


@pytest.fixture
def split(api_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A split whose challenger may take long on a busy machine."""
    monkeypatch.setattr(module, "WAIT_SECONDS", PATIENCE)
    return start_with_threshold(api_settings, "split", 0.5)


@pytest.fixture
def client(api_settings: Settings, split: Experiment, quiet: None) -> Iterator[TestClient]:
    """A client of a service that writes its counts only when a test asks for it."""
    with client_of(api_settings) as client:
        yield client


def arms_of(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["experiment_arm"] for answer in answers]


def counted(client: TestClient) -> dict[str, int]:
    """Write the service's counts, and return the experiment's details."""
    service = service_of(client)
    service.split._written_at = float("-inf")
    service.split.write_counts()
    experiment = service.project.experiments.get(1)
    assert experiment is not None
    return dict(experiment.details)


def test_every_way_puts_a_customer_in_the_same_arm(client: TestClient, split: Experiment, api_settings: Settings):
    customers = [a_customer(customer_id=id_) for id_ in IDS]
    expected = [arm_of(split.id, 0.5, id_) for id_ in IDS]
    assert len(set(expected)) == 2
    versions = {"champion": split.champion_name, "challenger": split.challenger_name}
    ways = [
        [client.post("/predict", json=customer).json() for customer in customers],
        client.post("/predict/batch", json=customers).json(),
    ]
    lines = "\n".join(map(json.dumps, customers))
    ndjson = client.post("/predict/batch", content=lines, headers={"content-type": "application/x-ndjson"})
    ways.append([json.loads(line) for line in ndjson.text.splitlines()])
    csv = client.post(
        "/predict/batch", content=pl.DataFrame(customers).write_csv(), headers={"content-type": "text/csv"}
    )
    table = pl.read_csv(io.StringIO(csv.text), schema_overrides={"area_code": pl.String})
    ways.append(table.to_dicts())
    for answers in ways:
        assert arms_of(answers) == expected
        assert [answer["model_version"] for answer in answers] == [versions[arm] for arm in expected]
    kept = client.get(f"/predictions/{table['prediction_id'][expected.index('challenger')]}").json()
    assert kept["model_version"] == split.challenger_name
    champion = ways[0][expected.index("champion")]["churn_probability"]
    assert {answer["churn_probability"] for answer in ways[1]} == {champion}  # both models have the same scores

    with Project.open(api_settings) as project:
        report = report_of(project, split)
    assert [report.champion.customers, report.challenger.customers] == [
        expected.count("champion"),
        expected.count("challenger"),
    ]
    metrics = client.get("/metrics").text
    label = f'arm="challenger",model_version="{split.challenger_name}"'
    assert f"churnops_split_answers_total{{{label}}} {4.0 * expected.count('challenger')}" in metrics


def test_replicas_agree_and_follow_a_stop(split: Experiment, api_settings: Settings):
    customers = [a_customer(customer_id=id_) for id_ in IDS]
    with client_of(api_settings) as one, client_of(api_settings) as other:
        first, second = (arms_of(replica.post("/predict/batch", json=customers).json()) for replica in (one, other))
        assert first == second
        with Project.open(api_settings) as project:
            stop_split(project, "enough")
        for replica in (one, other):
            ask = partial(replica.post, "/predict", json=customers[0])
            wait_for("it stops", lambda ask=ask: "experiment_arm" not in ask().json())


def test_customers_without_an_id_are_the_champions_and_counted(client: TestClient, split: Experiment):
    nameless = a_customer()
    del nameless["customer_id"]
    answers = [client.post("/predict", json=nameless).json() for _ in range(3)]
    assert arms_of(answers) == ["champion"] * 3
    assert {answer["model_version"] for answer in answers} == {split.champion_name}
    assert counted(client)["without_id"] == 3
    assert "churnops_split_without_id_total 3.0" in client.get("/metrics").text


def test_the_champion_answers_for_a_failing_challenger(
    client: TestClient, split: Experiment, monkeypatch: pytest.MonkeyPatch, api_settings: Settings
):
    running = service_of(client).challenger.current
    assert running is not None
    assert running.served is not None

    def fail(document: object) -> object:
        raise ValueError("a defect")

    monkeypatch.setattr(running.served.form, "read", fail)
    customers = [a_customer(customer_id=id_) for id_ in IDS]
    answers = client.post("/predict/batch", json=customers)
    assert answers.status_code == 200
    assert {answer["model_version"] for answer in answers.json()} == {split.champion_name}
    theirs = arms_of(answers.json()).count("challenger")
    assert theirs > 0
    assert counted(client)["fell_back"] == theirs
    with Project.open(api_settings) as project:
        report = report_of(project, split)
    assert report.challenger.fell_back == report.challenger.customers == theirs
    assert "They stay in their arm." in report.cautions[0]


def test_the_champion_answers_if_the_challengers_files_are_gone(api_settings: Settings, split: Experiment):
    shutil.rmtree(api_settings.path("models/versions") / split.folder)
    with client_of(api_settings) as client:
        customers = [a_customer(customer_id=id_) for id_ in IDS]
        answers = client.post("/predict/batch", json=customers).json()
        csv = pl.DataFrame(customers).write_csv()
        table = client.post("/predict/batch", content=csv, headers={"content-type": "text/csv"})
    assert {answer["model_version"] for answer in answers} == {split.champion_name}
    assert set(arms_of(answers)) == {"champion", "challenger"}
    assert table.text.count(split.champion_name) == len(IDS)


def test_a_failing_challenger_is_logged_once_for_a_file(
    client: TestClient, split: Experiment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail() -> Bundle:
        raise ValueError("a defect")

    arms = Arms(split.id, split.share, challengers, fail)
    monkeypatch.setattr(challenged, "_logged", set())
    monkeypatch.setattr(tables, "ROWS", 2)
    monkeypatch.setattr(service_of(client).split, "arms", lambda served: (arms, None))
    csv = pl.DataFrame([a_customer(customer_id=id_) for id_ in IDS]).write_csv()
    answer = client.post("/predict/batch", content=csv, headers={"content-type": "text/csv"})
    assert answer.text.count(split.champion_name) == len(IDS)
    assert [record.getMessage() for record in caplog.records if "a defect" in record.getMessage()] == [
        "the challenger of split 1 fails, the deployed model scores its customers: ValueError('a defect')"
    ]


def test_the_third_slow_answer_ends_the_split_with_an_alert(
    client: TestClient, split: Experiment, monkeypatch: pytest.MonkeyPatch
):
    ticks = count()
    clock = SimpleNamespace(thread_time=lambda: 0.2 * next(ticks), monotonic=time.monotonic)
    monkeypatch.setattr(module, "time", clock)
    theirs = next(id_ for id_ in IDS if arm_of(split.id, 0.5, id_) == "challenger")
    answers = [client.post("/predict", json=a_customer(customer_id=theirs)).json() for _ in range(5)]
    by_it = [answer.get("model_version") == split.challenger_name for answer in answers]
    assert by_it == [True, True, True, False, False]
    assert arms_of(answers[:3]) == ["challenger"] * 3
    assert "experiment_arm" not in answers[3]
    service = service_of(client)
    service.split.write_counts()
    ended = service.project.experiments.get(split.id)
    assert ended is not None
    assert (ended.state, ended.ended_by) == ("stopped", "churnops serve")
    assert "longer than 100 ms for a customer 3 times" in str(ended.ended_why)
    with service.project.engine.connect() as connection:
        title, body = connection.exec_driver_sql("SELECT title, body FROM alerts WHERE subject = 'split_stopped'").one()
    assert "Split 1 has stopped" in title
    assert split.challenger_name in body
    assert split.champion_name in body


def test_the_third_blocked_answer_ends_the_split_and_none_is_lost(
    client: TestClient, split: Experiment, monkeypatch: pytest.MonkeyPatch
):
    """It never returns and uses no processor time: a file, a list and a single customer wait for it, each once."""
    running = service_of(client).challenger.current
    assert running is not None
    assert running.served is not None
    challenger, release = running.served.bundle, Event()

    def blocked(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Bundle, *arguments: Any) -> Any:
            if self is challenger:
                release.wait()
            return method(self, *arguments)

        return call

    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    for name in ("answer", "answers", "explain"):
        monkeypatch.setattr(Bundle, name, blocked(getattr(Bundle, name)))
    customers = [a_customer(customer_id=id_) for id_ in IDS]
    theirs = next(id_ for id_ in IDS if arm_of(split.id, 0.5, id_) == "challenger")
    csv = pl.DataFrame(customers).write_csv()
    try:
        file = client.post("/predict/batch", content=csv, headers={"content-type": "text/csv"})
        answers = [client.post("/predict/batch", json=customers).json()]
        answers += [[client.post("/predict", json=a_customer(customer_id=theirs)).json()] for _ in range(2)]
    finally:
        release.set()
    table = pl.read_csv(file.content)
    assert [arms_of(table.to_dicts()), arms_of(answers[0])] == 2 * [[arm_of(split.id, 0.5, id_) for id_ in IDS]]
    assert {*table["model_version"], *(one["model_version"] for some in answers for one in some)} == {
        split.champion_name
    }
    assert ["experiment_arm" in some[0] for some in answers] == [True, True, False]
    assert counted(client)["slow_answers"] == 3
    ended = service_of(client).project.experiments.get(split.id)
    assert ended is not None
    assert ended.state == "stopped"


def test_a_challenger_often_in_time_needs_no_other_thread(
    client: TestClient, split: Experiment, monkeypatch: pytest.MonkeyPatch
):
    threads: list[str] = []

    def timed(*arguments: Any) -> Any:
        threads.append(current_thread().name)
        return answer(*arguments), 10.0 if len(threads) == 4 else 0.0

    answer = module.answer
    monkeypatch.setattr(module, "_timed_answer", timed)
    monkeypatch.setattr(module, "TRUSTED", 2)
    theirs = next(id_ for id_ in IDS if arm_of(split.id, 0.5, id_) == "challenger")
    for _ in range(5):
        assert client.post("/predict", json=a_customer(customer_id=theirs)).status_code == 200
    assert [name.startswith("challenger") for name in threads] == [True, True, False, False, True]  # the fourth is slow


def test_replicas_alert_a_sample_ratio_mismatch_once(client: TestClient, split: Experiment, api_settings: Settings):
    ids = (f"more-{number}" for number in range(1000))
    with Project.open(api_settings) as project:
        project.exposures.write([Exposure(split.id, id_, None, 0, False, False) for id_ in ids])
    with client_of(api_settings) as other:
        for replica in (client, other):
            service_of(replica)._next_check = 0.0
            service_of(replica)._check_arms()
    with service_of(client).project.engine.connect() as connection:
        ((body,),) = connection.exec_driver_sql("SELECT body FROM alerts WHERE subject = 'split_mismatch'").all()
    assert "1,000 customers in the champion's arm and 0 in the challenger's do not fit the share of 0.5" in body


def test_counts_of_an_ended_split_do_not_count_for_the_next(
    client: TestClient, split: Experiment, api_settings: Settings
):
    nameless = a_customer()
    del nameless["customer_id"]
    assert client.post("/predict/batch", json=[nameless] * 3).status_code == 200
    with Project.open(api_settings) as project:
        project.experiments.end(split.id, "stopped", "ann", "enough")
    following = start_with_threshold(api_settings, "split", 0.5)
    service_of(client).challenger.refresh()
    assert counted(client)["without_id"] == 3
    later = service_of(client).project.experiments.get(following.id)
    assert later is not None
    assert not later.details


def test_a_stopped_split_leaves_no_trace_in_answers(client: TestClient, split: Experiment, api_settings: Settings):
    with Project.open(api_settings) as project:
        project.experiments.end(split.id, "stopped", "ann", "enough")
    service_of(client).challenger.refresh()
    answers = client.post("/predict/batch", json=[a_customer(customer_id=id_) for id_ in IDS]).json()
    assert {answer["model_version"] for answer in answers} == {split.champion_name}
    assert not any("experiment_arm" in answer for answer in answers)


def test_a_file_keeps_its_columns_if_the_split_ends_meanwhile(
    client: TestClient, split: Experiment, monkeypatch: pytest.MonkeyPatch
):
    write = tables.CsvPieces.write

    def ending(pieces: tables.CsvPieces, table: pl.DataFrame) -> bytes:
        monkeypatch.setattr(service_of(client).split, "running", lambda served: None)
        return write(pieces, table)

    monkeypatch.setattr(tables, "ROWS", 6)
    monkeypatch.setattr(tables.CsvPieces, "write", ending)
    csv = pl.DataFrame([a_customer(customer_id=id_) for id_ in IDS]).write_csv()
    answer = client.post("/predict/batch", content=csv, headers={"content-type": "text/csv"})
    rows = pl.read_csv(answer.content)
    assert rows["experiment_arm"].to_list() == [arm_of(split.id, 0.5, id_) for id_ in IDS]
    assert set(rows["model_version"][:6]) == {split.champion_name, split.challenger_name}
    assert set(rows["model_version"][6:]) == {split.champion_name}


def test_a_split_of_an_earlier_champion_is_not_in_force(client: TestClient):
    running = service_of(client).challenger.current
    assert running is not None
    running.experiment.__dict__["champion"] = "e" * 64
    assert "experiment_arm" not in client.post("/predict", json=a_customer()).json()
