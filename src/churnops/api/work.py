"""Work beside the event loop: four sets of threads, bounded queues, and computations that end with their client.

Clients' computations, clients' queries of the journal, call lists, and housekeeping (readiness, keys, model,
monitoring) have separate threads. So clients cannot delay readiness, new deployments and changes of keys, and a call
list, which takes seconds, delays no query.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from starlette.types import Receive

from churnops.api.problems import Problem
from churnops.traces import span

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Computation in steps of a few milliseconds. Between two steps, other computations run, or this one is abandoned."""

STEP_ROWS = 500  # customers or labels in a step
LOOP_BYTES = 8 * 1024  # the event loop itself computes bodies up to this size, in a few milliseconds
LARGE_BYTES = 64 * 1024  # larger bodies are computed one at a time, and a common limit applies to their bytes
LARGE_BODIES = 8  # common limit, as a multiple of the limit of one body
COMPUTATIONS = 64  # limit of computations that run or wait
QUESTIONS = 32  # limit of queries of the journal that run or wait
LISTS = 4  # limit of call lists that are made, one at a time, or wait
# One job each of keys, copy and loading of the model, readiness, monitoring, counting, replicas, experiments.
HOUSEKEEPING = 8


class Threads:
    """A few threads with one queue. The process can exit while they work.

    The interpreter joins the threads of `concurrent.futures` at its exit, so a hanging thread would keep the process.
    """

    def __init__(self, name: str, count: int) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Return the future of the function's result."""
        future: Future[T] = Future()
        self._queue.put((future, partial(copy_context().run, function, *arguments)))  # the context has the span
        return future

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the function's result. If cancelled while waiting, the function is not called."""
        result: T = await asyncio.wrap_future(self.submit(function, *arguments))
        return result

    async def compute(self, steps: Steps[T]) -> T:
        """Return a computation's result. If cancelled, the computation ends after the current step."""
        try:
            while True:
                done, result = await self.run(_step, steps)
                if done:
                    return result  # type: ignore[no-any-return]
        finally:
            close(steps)

    def close(self) -> None:
        """Let each thread end after its current job."""
        for _ in self._threads:
            self._queue.put(None)

    def finish(self) -> None:
        """Wait until no thread works any more."""
        self.close()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # raised in the waiting task
                    future.set_exception(error)
            del job, future, function  # otherwise their objects would stay until the next job


def _step(steps: Steps[T]) -> tuple[bool, Any]:
    """Take one step; return whether it was the last, and the result of the last."""
    try:
        next(steps)
    except StopIteration as end:
        return True, end.value
    return False, None


def close(steps: Generator[Any, None, Any]) -> None:
    """Release the files of an abandoned computation, if no step is running."""
    with suppress(ValueError):  # it is executing
        steps.close()


def at_once(steps: Steps[T]) -> T:
    """Take all steps at once; return the result."""
    while True:
        done, result = _step(steps)
        if done:
            return result  # type: ignore[no-any-return]


class Room:
    """A count with a limit. Requests above it are refused, because a longer queue would only delay their failure.

    Parameters
    ----------
    limit : int
        Maximum of the count.
    reason : str
        Detail of the refusal.
    """

    def __init__(self, limit: int, reason: str) -> None:
        self._limit = limit
        self._reason = reason
        self._taken = 0

    def take(self, amount: int = 1, *, refuse: bool = True) -> None:
        """Add `amount` to the count.

        Raises
        ------
        Problem
            503 above the limit, unless `refuse` is false.
        """
        if refuse and self._taken + amount > self._limit:
            raise Problem(503, "busy", self._reason, headers={"Retry-After": "5"})
        self._taken += amount

    def leave(self, amount: int = 1) -> None:
        """Subtract `amount` from the count."""
        self._taken -= amount

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Add one within the block."""
        self.take()
        try:
            yield
        finally:
            self.leave()


class Held:
    """Bytes of one request in memory, counted in a `Room`; bodies up to `LARGE_BYTES` are not counted."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._arrived = 0
        self._taken = 0

    def add(self, amount: int) -> None:
        """Count another piece of a body; see `Room.take`."""
        self._arrived += amount
        if self._arrived > LARGE_BYTES:
            more = self._arrived - self._taken
            self._room.take(more)
            self._taken += more

    def exchange(self, amount: int) -> None:
        """Count an answer's bytes instead of the body's.

        An answer is never refused, because its predictions are already in the journal.
        """
        self.close()
        self._room.take(amount, refuse=False)
        self._taken = amount

    def close(self) -> None:
        """Remove the bytes of this request from the count."""
        self._room.leave(self._taken)
        self._taken = 0


class Work:
    """The service's work beside its event loop.

    Parameters
    ----------
    body_bytes : int
        Limit of a JSON body.

    Attributes
    ----------
    housekeeping : Threads
        Threads for work that no client requested.
    """

    def __init__(self, body_bytes: int) -> None:
        self.housekeeping = Threads("housekeeping", HOUSEKEEPING)
        self._compute = Threads("compute", 1)
        self._journal = Threads("journal", 2)
        self._lists = Threads("lists", 1)
        self._computations = Room(COMPUTATIONS, f"{COMPUTATIONS} requests are running or waiting: try again later")
        self._questions = Room(QUESTIONS, f"{QUESTIONS} requests wait for the journal: try again later")
        self._call_lists = Room(LISTS, f"{LISTS} call lists are being made or wait: try again later")
        self._bodies = Room(LARGE_BODIES * body_bytes, "too many large requests are running: try again later")
        self._large = asyncio.Semaphore(1)

    def held(self) -> Held:
        """Return the count of a request's bytes."""
        return Held(self._bodies)

    async def compute(self, receive: Receive, size: int, steps: Steps[T]) -> T:
        """Return the result of a computation on a body of `size` bytes; a disconnect of the client ends it.

        Raises
        ------
        Problem
            503 if too many requests compute, 400 if the client disconnects.
        """
        with span("compute"):
            if size <= LOOP_BYTES:
                return at_once(steps)
            with self._computations.hold():
                if size <= LARGE_BYTES:
                    return await while_connected(receive, self._compute.compute(steps))
                return await while_connected(receive, self._alone(steps))

    async def _alone(self, steps: Steps[T]) -> T:
        """Compute one large body at a time, as each takes many times its bytes in memory."""
        async with self._large:
            return await self._compute.compute(steps)

    async def upload(self, receive: Receive, steps: Steps[T]) -> T:
        """Compute for an upload. Its body is on disk, and `Uploads` limits the number of uploads."""
        with span("compute"):
            return await while_connected(receive, self._compute.compute(steps))

    async def step(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run one step of a computation in a thread; the caller watches for a disconnect."""
        with span("compute"):
            return await self._compute.run(function, *arguments)

    async def ask(self, receive: Receive, function: Callable[..., T], *arguments: Any) -> T:
        """Query the journal for a client; a running query is not cancelled.

        Raises
        ------
        Problem
            503 if too many queries wait, 400 if the client disconnects.
        """
        with self._questions.hold(), span("ask the journal"):
            return await while_connected(receive, self._journal.run(function, *arguments))

    async def make_list(self, receive: Receive, function: Callable[..., T], *arguments: Any) -> T:
        """Make a call list for a client, one at a time; a running one is made to its end.

        Raises
        ------
        Problem
            503 if too many lists wait, 400 if the client disconnects.
        """
        with self._call_lists.hold(), span("make a call list"):
            return await while_connected(receive, self._lists.run(function, *arguments))

    def close(self) -> None:
        """Let the threads end after their current jobs."""
        for threads in (self.housekeeping, self._compute, self._journal, self._lists):
            threads.close()


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled if the client disconnects.

    Raises
    ------
    Problem
        400 if the client disconnects.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Problem(400, "disconnected", "the client closed the connection")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait((working, leaving))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
