"""Which replica answers with the deployed model, and the check of all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from churnops.journal.replicas import ReplicaProcess
from churnops.registry.replicas import AWAY, FOLLOW, State, late, replicas_of, summary_of
from churnops.retraining import follow
from churnops.retraining.follow import check_replicas
from tests.support.clocks import Clock

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OLD = ReplicaProcess("a", "api-1", "0.0.0.0:8000", 7, "0.1.0", NOW, "old", "tree-1", "1" * 64, NOW, "old")
NEW = replace(OLD, folder="new", model_version="tree-2", content_sha256="2" * 64, followed="new")
REFUSING = replace(OLD, followed="new", refused="its hash differs")
NAME = "api-1 0.0.0.0:8000"
Seen = tuple[ReplicaProcess, timedelta]


@pytest.mark.parametrize(
    ("process", "silent", "state"),
    [
        (NEW, SECOND, "current"),
        (replace(NEW, refused="damaged since"), SECOND, "current"),
        (OLD, SECOND, "behind"),
        (replace(OLD, refused="it refused an earlier one"), SECOND, "behind"),
        (replace(OLD, folder=None, model_version=None), SECOND, "behind"),
        (REFUSING, SECOND, "refusing"),
        (NEW, AWAY, "away"),
        (REFUSING, AWAY, "away"),
    ],
)
def test_a_replica_is_current_behind_refusing_or_away(process: ReplicaProcess, silent: timedelta, state: State):
    (replica,) = replicas_of([(process, silent)], "new")
    assert (replica.state, replica.workers) == (state, 1)
    assert replica.name == NAME


def test_workers_of_one_address_are_one_replica_the_worst_decides():
    others = [replace(NEW, id="b"), replace(REFUSING, id="c")]
    dead = (replace(OLD, id="d"), 2 * AWAY)
    elsewhere = (replace(NEW, id="e", host="api-2"), SECOND)
    one, other = replicas_of([*((process, SECOND) for process in (OLD, *others)), dead, elsewhere], "new")
    assert (one.state, one.workers, one.process.id) == ("refusing", 3, "c")
    assert (other.state, other.workers) == ("current", 1)


def test_a_replica_has_time_to_follow_and_an_away_one_is_not_late():
    replicas = replicas_of([(OLD, SECOND), (replace(OLD, host="api-2"), AWAY), (replace(NEW, host="z"), SECOND)], "new")
    assert late(replicas, NOW, NOW + FOLLOW / 2) == []
    assert [replica.process.host for replica in late(replicas, NOW, NOW + FOLLOW)] == ["api-1"]
    assert summary_of(replicas) == (
        "replicas that answer with it: 1 of 3; api-1 0.0.0.0:8000 answers with tree-1; "
        "api-2 0.0.0.0:8000 last reported 15 s ago"
    )


class Store:
    """Rows of the table at one look after the other; the last look repeats."""

    def __init__(self, *looks: Sequence[Seen]) -> None:
        self._looks: Iterator[Sequence[Seen]] = iter(looks)
        self._last: Sequence[Seen] = ()

    def read(self) -> Sequence[Seen]:
        self._last = next(self._looks, self._last)
        return self._last


@pytest.mark.parametrize(
    ("looks", "status", "reason"),
    [
        ([[]], "passed", ""),
        ([[(OLD, SECOND)], [(NEW, SECOND)]], "passed", "replicas that answer with it: 1 of 1"),
        ([[(OLD, SECOND)], [(REFUSING, SECOND)]], "failed", f"{NAME} refuses it: its hash differs"),
        ([[(OLD, 0 * SECOND)]], "failed", f"{NAME} answers with tree-1, after 1 seconds"),
        ([[(OLD, SECOND)]], "passed", f"replicas that answer with it: 0 of 1; {NAME} last reported 1 s ago"),
        ([[(OLD, 0 * SECOND)], []], "passed", ""),
    ],
)
def test_the_check_waits_for_every_replica(monkeypatch, looks: Sequence[Sequence[Seen]], status: str, reason: str):
    monkeypatch.setattr(follow, "time", Clock())
    check = check_replicas(Store(*looks), "new", 1.0)
    assert (check.status, check.reason) == (status, reason)


@pytest.mark.parametrize("others", [[], [(replace(NEW, id="b"), SECOND)]], ids=["replica", "worker"])
def test_a_killed_one_is_waited_for_only_until_it_is_away(monkeypatch, others: Sequence[Seen]):
    monkeypatch.setattr(follow, "time", Clock())
    looks = [[(OLD, AWAY + seconds * SECOND), *others] for seconds in (-2, -1, 0)]
    check = check_replicas(Store(*looks), "new", 30.0)
    assert check.status == "passed"
    assert check.seconds < 30
