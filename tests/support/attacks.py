"""Attacks: text that a browser would execute, in every row, report, summary, decision and alert that pages read."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from churnops.journal import DeploymentLog, open_database
from churnops.journal.alerts import AlertLog, Notice, Try
from churnops.journal.call_lists import CallListStore, ListedCustomer
from churnops.journal.contacts import Contact, ContactLog
from churnops.journal.cycles import CycleLog
from churnops.journal.decisions import DecisionLog
from churnops.journal.deployment_log import Intent
from churnops.settings import Settings
from churnops.wire import CallListHead, CallListHealth
from tests.support.screen import ATTACKS

EVERYTHING = " ".join(ATTACKS)
KEPT = {"name", "kind", "test", "verdict", "metric", "sha256", "content_sha256", "run_id", "state", "status"}
"""Fields whose values come from a fixed list of the product."""


def attack(settings: Settings) -> None:
    """Write the attacks into the newest entry of each kind."""
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        now, deployments, alerts = datetime.now(UTC), DeploymentLog(engine), AlertLog(engine)
        cycles = CycleLog(engine)
        newest = cycles.newest()[0]
        assert newest.report is not None
        path = settings.path(settings.monitoring.directory) / newest.report
        path.write_text(json.dumps(poisoned(json.loads(path.read_text()))))
        cycles.record(replace(newest, at=now - timedelta(minutes=1), summary=poisoned(newest.summary)))
        cycles.record(replace(newest, at=now - timedelta(minutes=2), status="failed", summary={"error": EVERYTHING}))
        decisions = DecisionLog(engine)
        for decision in decisions.newest(2):
            details = poisoned(decision.details)
            decisions.record(replace(decision, at=now - timedelta(minutes=1), reason=EVERYTHING, details=details))
        summary = max(settings.path(settings.monitoring.directory).glob("retraining_summary_*.json"))
        summary.write_text(json.dumps(poisoned(json.loads(summary.read_text()))))
        notice = Notice("feature_drift", "firing", "critical", EVERYTHING, EVERYTHING)
        told, mine = alerts.take(
            lambda latest: [notice], [EVERYTHING[:200]], now=now, since=now, lease=timedelta(minutes=5)
        )
        alerts.finish([Try(alert.id, channel, EVERYTHING) for alert, channel in mine if alert.id is not None], now)
        assert told
        add_rollback(deployments)
        add_call_list(engine)
    finally:
        engine.dispose()


def add_call_list(engine: Engine, attack: str = EVERYTHING) -> None:
    """Add a call list and contacts with attacks in every text."""
    head = CallListHead(
        customers=3,
        scored=9,
        source=attack,
        rule="contacts",
        ended_by="limit",
        cut_off=0.5,
        policy={"contacts": 3, "currency": "<b>EUR</b>"},
        model_version=attack,
        health=CallListHealth(level="bad", word="Act now", sentence=attack),
    )
    ids = (ATTACKS[0], ATTACKS[1], "=cmd|'/C calc'!A0")
    rows = [
        ListedCustomer(place, id_, None, 1 - place / 1e5, None, None, (attack, *ids[:2]), attack)
        for place, id_ in enumerate(ids, 1)
    ]
    made = CallListStore(engine).add(attack, {"days": 30}, head.model_dump(mode="json"), rows, by=attack, after=0)
    assert made
    ContactLog(engine).record([Contact(ids[2], "kept", made[0].id, f"=1+1 {attack}")])


def add_rollback(log: DeploymentLog) -> None:
    """Add a rollback to the newest deployment, with attacks as its texts."""
    last = log.history()[-1]
    intent = Intent(
        folder=last.folder,
        version=last.version,
        content_sha256=last.content_sha256,
        previous=last.previous,
        reason=EVERYTHING,
        by=EVERYTHING,
        kind="rollback",
    )
    log.close(log.get(log.open_intent(intent)), "done")


def poisoned(document: Any, key: str = "") -> Any:
    """Return a JSON document with the attacks appended to every text, except for values from a fixed list."""
    if isinstance(document, dict):
        return {name: poisoned(value, name) for name, value in document.items()}
    if isinstance(document, list):
        return [poisoned(value, key) for value in document]
    return f"{document} {EVERYTHING}" if isinstance(document, str) and key not in KEPT and " " in document else document
