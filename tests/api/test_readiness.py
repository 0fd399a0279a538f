"""Readiness follows the last write to the journal and the rows that wait for one."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from churnops.settings import Settings
from tests.support.api import client_of
from tests.support.api_server import serving
from tests.support.processes import PATIENCE, wait_for


def ready(client: TestClient) -> int:
    return client.get("/health/ready").status_code


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_full_disk_is_not_ready_until_there_is_room_again(
    make_settings: Callable[..., Settings], customer: dict[str, Any], durability: str
):
    settings = make_settings(journal={"durability": durability})
    with client_of(settings) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        limit = {"pages": 1}  # no less than there are now
        set_limit = "PRAGMA max_page_count={}"
        event.listen(
            service.project.engine,
            "checkout",
            lambda connection, *_: connection.execute(set_limit.format(limit["pages"])),
        )
        wait_for("the disk is full", lambda: client.post("/predict", json=customer).status_code == 503)
        assert ready(client) == 503
        time.sleep(1.5)
        assert ready(client) == 503  # it was tried again
        limit["pages"] = 2**30
        service._writer._disconnect()  # the loop's own connection
        wait_for("it is ready again", lambda: ready(client) == 200)  # without a request
        assert client.post("/predict", json=customer).status_code == 200


def test_without_the_journal_required_a_full_disk_is_a_warning(
    make_settings: Callable[..., Settings], customer: dict[str, Any]
):
    with client_of(make_settings(journal={"required": False})) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        event.listen(
            service.project.engine, "checkout", lambda connection, *_: connection.execute("PRAGMA max_page_count=1")
        )
        wait_for(
            "there is a warning",
            lambda: (
                client.post("/predict", json=customer).status_code == 200
                and client.get("/health/ready").json()["warnings"] == ["the journal does not answer"]
            ),
        )


def test_a_journal_that_another_process_keeps_locked_is_not_ready(api_settings: Settings, customer: dict[str, Any]):
    body = json.dumps(customer).encode()
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
    request = head + b"content-length: %d\r\n\r\n" % len(body) + body
    question = b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    answers: list[bytes] = []
    with serving(api_settings) as server:
        assert b" 200 " in server.send(request)
        with closing(sqlite3.connect(api_settings.path("journal.db"), PATIENCE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asking = threading.Thread(target=lambda: answers.append(server.send(request)))
            asking.start()
            wait_for("it is not ready", lambda: b" 503 " in server.send(question))
            assert answers == []
            other.execute("ROLLBACK")
        asking.join()
        assert b" 200 " in answers[0] or b" 503 " in answers[0]
        wait_for("it is ready again", lambda: b" 200 " in server.send(question))


def test_labels_alone_reach_the_database_file(make_settings: Callable[..., Settings], customer: dict[str, Any]):
    settings = make_settings(journal={"predictions": False})
    path = settings.path("journal.db")

    def moved() -> int:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            try:
                return int(connection.execute("SELECT count(*) FROM labels").fetchone()[0])
            except sqlite3.DatabaseError:  # in the middle of a move
                return 0

    with client_of(settings) as client:
        label = {"customer_id": "C-1", "churned": True}
        assert client.post("/labels", json=label).status_code == 200
        wait_for("the label is in the file", lambda: moved() == 1)
