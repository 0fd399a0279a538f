"""Workers: tasks in bounded numbers, results as they are completed, and clusters that cannot be used."""

import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from churnops.cluster import completed, dask_workers, open_workers
from churnops.errors import ClusterError, DataError
from tests.support.processes import PATIENCE


def test_few_tasks_are_held_and_results_come_as_completed():
    drawn, first_may_end = [], Event()

    def task(number: int) -> int:
        if number == 0:
            first_may_end.wait(PATIENCE)
        return number

    def tasks() -> Iterator[tuple[int]]:
        for number in range(100):
            drawn.append(number)
            yield (number,)

    with open_workers("", 2) as workers:
        results = completed(workers, task, tasks())
        early = [next(results) for _ in range(50)]
        assert 0 not in early
        assert len(drawn) <= 50 + 2 * 2 + 1
        first_may_end.set()
        assert sorted([*early, *results]) == list(range(100))


def test_the_error_of_a_task_ends_the_work():
    def task(number: int) -> int:
        if number == 3:
            raise DataError("row 3 is broken")
        return number

    with pytest.raises(DataError, match="row 3"), open_workers("", 2) as workers:
        list(completed(workers, task, ((number,) for number in range(1000))))


def test_a_cluster_without_dask_installed_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"Dask is not installed: pip install 'churnops\[cluster\]'"):
        open_workers("local:2", 1).__enter__()


def test_errors_of_dask_are_explained():
    from distributed import KilledWorker

    for error, message in (
        (CancelledError(), "the connection to the Dask scheduler of tcp://a:1 is lost"),
        (KilledWorker("task", None, 3), "the same task ended 4 workers, as a lack of memory does"),
    ):
        with pytest.raises(ClusterError, match=message), dask_workers._explaining("tcp://a:1"):
            raise error


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        ("error", DataError("row 3 is broken"), DataError),
        ("cancelled", CancelledError(), CancelledError),
        ("finished", OSError("the scheduler closed the connection"), CancelledError),
    ],
)
def test_whoever_waits_learns_that_a_result_is_lost(status: str, error: Exception, expected: type[Exception]):
    def result() -> None:
        raise error

    waiting: Future[None] = Future()
    dask_workers._settle(waiting, cast("Any", SimpleNamespace(status=status, result=result)))
    with pytest.raises(expected):
        waiting.result(timeout=0)


def test_a_cancelled_task_is_left_alone():
    waiting: Future[None] = Future()
    waiting.cancel()
    dask_workers._settle(waiting, cast("Any", SimpleNamespace()))
    assert waiting.cancelled()
