"""Workers of a Dask cluster: a running one, or one that is started on this machine and stopped."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from churnops.cluster.versions import difference, versions
from churnops.errors import ChurnopsError, ClusterError, SettingsError, StoreError, first_line

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as Task

T = TypeVar("T")
R = TypeVar("R")
LOCAL = "local:"
CONNECT_SECONDS = 10
WORKERS_SECONDS = 30
"""Seconds to wait for the first worker of a running cluster."""
SAME = "install the same on all machines"
COUNT_SECONDS = 2.0
"""Seconds after which the number of workers is asked for again."""
IDLE_SECONDS = 30.0
"""Seconds without workers after which a warning is logged."""
log = logging.getLogger("churnops.cluster")
_open: dict[str, "DaskWorkers"] = {}
"""Clusters that this process uses just now, by address: a block inside another one uses the same."""


class DaskWorkers:
    """Workers of a Dask cluster.

    Parameters
    ----------
    client
        Connection to the scheduler; the caller closes it.
    address
        Value of `cluster.address`.
    """

    def __init__(self, client: "Client", address: str) -> None:
        self._client = client
        self._address = address
        self._counted = (0.0, 0)

    @property
    def description(self) -> str:
        """Number of workers, and the address of Dask's dashboard."""
        return f"{self.count} worker{'' if self.count == 1 else 's'}; Dask's dashboard: {self._client.dashboard_link}"

    @property
    def count(self) -> int:
        """Number of threads of all workers."""
        at, count = self._counted
        if time.monotonic() - at > COUNT_SECONDS:
            with suppress(Exception):  # the tasks themselves notice that the scheduler is gone
                threads = self._client.sync(self._client.scheduler.ncores, callback_timeout=COUNT_SECONDS)
                count = sum(threads.values())
            self._counted = time.monotonic(), count
        return count

    def share(self, value: T) -> T:
        """Keep a value with the scheduler; each worker fetches it once, also one that replaces a killed one.

        The present workers fetch it now: during a task, a worker would be slow to pass it on to another one.
        """
        self._client.run(import_module, type(value).__module__, on_error="ignore")
        shared: Any = self._client.submit(_itself, value, pure=False)
        self._client.replicate([shared])
        return shared  # type: ignore[no-any-return]

    def submit(self, function: Callable[..., R], *args: Any) -> "Future[R]":
        """Start a task."""
        task = self._client.submit(_run, versions(), function, *args, pure=False)
        result: Future[R] = Future()
        result.add_done_callback(lambda each: task.cancel() if each.cancelled() else None)
        task.add_done_callback(partial(_settle, result))
        return result

    def check(self) -> None:
        """Refuse workers that cannot run churnops or have other versions, and a cluster without workers."""
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_SECONDS)
            answers = {
                "the scheduler": self._client.run_on_scheduler(versions),
                **{f"worker {at}": known for at, known in self._client.run(versions, on_error="return").items()},
            }
        except TimeoutError:
            raise ClusterError(f"the Dask cluster at {self._address} has no workers: start some") from None
        except Exception as error:
            raise ClusterError(
                f"the Dask cluster at {self._address} cannot run churnops: {first_line(error)}"
            ) from None
        for name, known in answers.items():
            if isinstance(known, Exception):
                raise ClusterError(f"{name} of the Dask cluster cannot run churnops: {first_line(known)}")
            if other := difference(versions(), known):
                raise ClusterError(f"{name} of the Dask cluster {other}: {SAME}")


def _settle(result: "Future[R]", task: "Task") -> None:
    """Pass on what became of a task. Dask's own executor never ends a future whose result is lost on its way."""
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(task.result())
    except BaseException as error:  # of any kind: who waits for the result must learn of it
        result.set_exception(error if task.status == "error" else CancelledError())


def _itself(value: T) -> T:
    return value


def _run(expected: dict[str, str], function: Callable[..., R], *args: Any) -> R:
    """Run a task on a worker, which may have joined the cluster after the check of versions.

    BLAS keeps one thread, which is Dask's own default too: other threads of the worker may run tasks at the same time.
    """
    from distributed import get_worker
    from threadpoolctl import threadpool_limits

    here = f"worker {get_worker().address} of the Dask cluster"
    if other := difference(expected, versions()):
        raise ClusterError(f"{here} {other}: {SAME}")
    threadpool_limits(1)
    try:
        return function(*args)
    except (StoreError, SettingsError) as error:  # such as missing credentials of this worker
        kind = type(error) if isinstance(error, StoreError) else StoreError
        raise kind(f"{here}: {error}") from None
    except (ChurnopsError, OSError):
        raise
    except Exception as error:  # another package's error may be lost on its way, and be waited for without an end
        log.exception("a task failed")
        raise ClusterError(
            f"a task failed on {here}, see its log: {type(error).__name__}: {first_line(error)}"
        ) from None


@contextmanager
def dask_workers(address: str) -> Iterator[DaskWorkers]:
    """Connect to a running cluster, or start and stop `local:N`; a block inside another one uses the same cluster.

    Raises
    ------
    ClusterError
        See `open_workers`; and if the scheduler is lost, or a task ends its workers again and again.
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise ClusterError("cluster.address: Dask is not installed: pip install 'churnops[cluster]'") from None
    with _explaining(address):
        if address in _open:
            yield _open[address]
            return
        with _connected(address) as client:
            workers = DaskWorkers(client, address)
            workers.check()
            _open[address] = workers
            try:
                with _watched(workers, address):
                    yield workers
            finally:
                del _open[address]


@contextmanager
def _watched(workers: DaskWorkers, address: str) -> Iterator[None]:
    """Log a warning when the cluster has had no workers for a while: tasks wait for them without an end."""
    ended = threading.Event()

    def watch() -> None:
        last, warned = time.monotonic(), False
        while not ended.wait(COUNT_SECONDS):
            if workers.count:
                last, warned = time.monotonic(), False
            elif not warned and time.monotonic() - last >= IDLE_SECONDS:
                warned = True
                log.warning(
                    "the Dask cluster at %s has had no workers for %.0f s: "
                    "start workers and the work goes on, or stop it with Ctrl-C",
                    address,
                    time.monotonic() - last,
                )

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _explaining(address: str) -> Iterator[None]:
    """Turn the errors of a lost scheduler and of dying workers into a `ClusterError`."""
    from distributed import KilledWorker

    try:
        yield
    except CancelledError:
        reason = f"the connection to the Dask scheduler of {address} is lost"
        raise ClusterError(f"{reason}: when it runs again, type the command again") from None
    except KilledWorker as error:
        reason = f"the same task ended {error.allowed_failures + 1} workers, as a lack of memory does"
        raise ClusterError(f"{reason}: give the workers of {address} more memory") from None


@contextmanager
def _connected(address: str) -> Iterator["Client"]:
    """Yield a client of the cluster. Dask's own messages are not shown: errors of tasks and connections are raised."""
    from dask import config
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        if not address.startswith(LOCAL):
            try:
                client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:
                raise ClusterError(
                    f"no Dask scheduler answers at {address}: {first_line(error)}; correct cluster.address, or start it"
                ) from None
            with client:
                yield client
            return
        with _started(int(address.removeprefix(LOCAL))) as cluster, Client(cluster, set_as_default=False) as client:
            yield client


def _started(workers: int) -> Any:
    """Start worker processes on this machine; return them as Dask's cluster."""
    from dask import config
    from distributed import LocalCluster, Security

    try:
        # Dask would drop copies of shared rows that a worker does not need for two seconds, with what it made of them.
        with _without_interrupts(), config.set({"distributed.scheduler.active-memory-manager.start": False}):
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                security=Security.temporary(),  # other accounts of this machine cannot give tasks to the workers
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                env={"POLARS_MAX_THREADS": "1"},
            )
    except RuntimeError as error:
        advice = 'a Python program needs `if __name__ == "__main__":` before its work'
        reason = first_line(error).rstrip(".")
        raise ClusterError(f"the workers of {LOCAL}{workers} cannot be started: {reason}; {advice}") from None


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C in the block, and in the processes that it starts: the terminal sends it to them, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
