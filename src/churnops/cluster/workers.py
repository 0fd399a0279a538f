"""Workers, and the threads of this process as workers."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers(Protocol):
    """Runs tasks, in this process or in others."""

    @property
    def description(self) -> str:
        """Number and place of the workers, for people; empty for this process."""

    @property
    def count(self) -> int:
        """Number of tasks that can run at once just now."""

    def share(self, value: T) -> T:
        """Send a value to the workers once, however many tasks use it.

        The result stands for the value: it may only be passed on, as an argument of tasks.
        """

    def submit(self, function: Callable[..., R], *args: Any) -> "Future[R]":
        """Start a task. Function, arguments and result must be picklable."""


@dataclass(frozen=True)
class ThreadWorkers:
    """Threads of this process."""

    pool: ThreadPoolExecutor
    count: int
    description: str = ""

    def share(self, value: T) -> T:
        """Return the value: all threads have it."""
        return value

    def submit(self, function: Callable[..., R], *args: Any) -> "Future[R]":
        """Start a task in a thread."""
        return self.pool.submit(function, *args)


@contextmanager
def open_workers(address: str, threads: int) -> Iterator[Workers]:
    """Open the workers at the address of the setting `cluster.address`, until the block ends.

    After an error or Ctrl-C, tasks that have not begun are cancelled.

    Parameters
    ----------
    threads
        Number of threads, if the address is empty.

    Raises
    ------
    ClusterError
        If Dask is not installed or its scheduler does not answer, or if a worker has other versions than this process.

    Examples
    --------
    >>> with open_workers("", threads=2) as workers:
    ...     sorted(completed(workers, abs, [(-1,), (2,), (-3,)]))
    [1, 2, 3]
    """
    if address:
        from churnops.cluster.dask_workers import dask_workers

        with dask_workers(address) as cluster:
            yield cluster
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield ThreadWorkers(pool, threads)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def completed(workers: Workers, function: Callable[..., R], tasks: Iterable[tuple[Any, ...]]) -> Iterator[R]:
    """Yield `function(*arguments)` of each task, in the order in which they are completed.

    Arguments are drawn as they are needed: at most two tasks a worker are held.
    """
    pending: set[Future[R]] = set()
    try:
        for arguments in tasks:
            pending.add(workers.submit(function, *arguments))
            while len(pending) >= 2 * max(workers.count, 1):
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in pending:
            task.cancel()
