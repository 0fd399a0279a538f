"""Feeder: sends customers to the API one by one, and their outcomes after the label horizon."""

import http.client
import json
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from churnops.demo.plan import DemoPlan
from churnops.demo.world import World
from churnops.errors import ChurnopsError

LATE_SECONDS = 0.5  # delay that is caught up; customers later than this are skipped
LABELS_SECONDS = 0.5  # interval between deliveries of outcomes
TIMEOUT = 60.0


@dataclass(frozen=True)
class Fed:
    """Progress of the feeder: customers and outcomes sent, and the models that answered, oldest first."""

    sent: int
    labelled: int
    models: tuple[str, ...]


class Feeder(threading.Thread):
    """Sends customers to `POST /predict` and outcomes to `POST /labels`, on one connection, until it is stopped.

    A status other than 200 ends the thread, and `check` raises. When another model answers, customers come from the
    next part of the world's rows.
    """

    def __init__(self, world: World, plan: DemoPlan, port: int) -> None:
        super().__init__(name="customers")
        self._world = world
        self._plan = plan
        self._port = port
        self._horizon = timedelta(seconds=plan.label_horizon_seconds)
        self._stopped = threading.Event()
        self._changing = threading.Event()
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque()
        self._models: list[str] = []
        self._sent = self._labelled = 0
        self._error: Exception | None = None
        self.changed_at: datetime | None = None

    def change(self) -> datetime:
        """Change the world before the next customer arrives; return the time."""
        self.changed_at = datetime.now(UTC)
        self._changing.set()
        return self.changed_at

    def stop(self) -> None:
        """Stop sending, and wait for the request in progress."""
        self._stopped.set()
        self.join()

    def fed(self) -> Fed:
        """Return the progress."""
        return Fed(self._sent, self._labelled, tuple(self._models))

    def check(self) -> None:
        """Raise a `ChurnopsError` if a request failed."""
        if self._error is not None:
            raise ChurnopsError(f"the API did not answer a customer: {self._error}") from self._error

    def run(self) -> None:
        """Feed customers, in the thread."""
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)) as connection:
                self._feed(connection)
        except (OSError, http.client.HTTPException, ChurnopsError) as error:
            self._error = error

    def _feed(self, connection: http.client.HTTPConnection) -> None:
        due = labels_due = time.monotonic()
        while not self._stopped.is_set():
            now = time.monotonic()
            if now >= labels_due:
                self._send_labels(connection, now)
                labels_due = now + LABELS_SECONDS
            if now < due:
                time.sleep(min(due, labels_due) - now)
                continue
            self._ask(connection)
            due = max(due + 1 / self._plan.rate, now - LATE_SECONDS)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        customer = self._world.arrive(changed=self._changing.is_set(), part=max(len(self._models) - 1, 0))
        arrived = datetime.now(UTC)
        answer = _post(connection, "/predict", customer.document)
        self._sent += 1
        if answer["model_version"] not in self._models:
            self._models.append(answer["model_version"])
        label: dict[str, Any] = {"customer_id": customer.id, "churned": customer.churned}
        if customer.churned:  # halfway through the horizon
            label["outcome_at"] = (arrived + self._horizon / 2).isoformat()
        wait = self._plan.label_horizon_seconds + self._plan.label_delay_seconds
        self._waiting.append((time.monotonic() + wait, label))

    def _send_labels(self, connection: http.client.HTTPConnection, now: float) -> None:
        due = []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(self._waiting.popleft()[1])
        if due:
            _post(connection, "/labels", due)
            self._labelled += len(due)


def _post(connection: http.client.HTTPConnection, path: str, document: Any) -> Any:
    connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ChurnopsError(f"POST {path} returned status {response.status}: {body[:300].decode(errors='replace')}")
    return json.loads(body)
