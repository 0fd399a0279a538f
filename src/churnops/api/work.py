"""Work beside the event loop: three sets of threads, bounded queues, and computations that end with their client.

Clients' computations, clients' questions to the journal, and housekeeping (readiness, keys, model, monitoring) have
threads of their own, so however much clients ask, the service stays ready, follows deployments and learns of keys.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from starlette.types import Receive

from churnops.api.problems import Problem

T = TypeVar("T")
Steps = Generator[None, None, T]
"""A computation cut into steps of some milliseconds: between two of them others compute, and it can be abandoned."""

STEP_ROWS = 500  # customers or labels in a step
LOOP_BYTES = 8 * 1024  # a smaller body is computed by the event loop, within a few milliseconds
LARGE_BYTES = 64 * 1024  # larger bodies are counted, and computed one at a time
LARGE_BODIES = 8  # of the largest size, held at once
COMPUTATIONS = 64  # that compute or wait for it
QUESTIONS = 32  # to the journal, asked or waiting
HOUSEKEEPING = 5  # keys, model, readiness, monitoring and counting have one at a time each


class Threads:
    """A few threads that do one thing after another. The process can end while they work.

    Threads of `concurrent.futures` are joined when the interpreter exits: one that hangs would keep the process.
    """

    def __init__(self, name: str, count: int) -> None:
        self._count = count
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        for number in range(count):
            Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the function's result. Cancelled before its turn, it is not called."""
        future: Future[T] = Future()
        self._queue.put((future, partial(function, *arguments)))
        result: T = await asyncio.wrap_future(future)
        return result

    async def compute(self, steps: Steps[T]) -> T:
        """Return a computation's result. Cancelled, it ends after the step under way."""
        try:
            while True:
                done, result = await self.run(_step, steps)
                if done:
                    return result  # type: ignore[no-any-return]
        finally:
            close(steps)

    def close(self) -> None:
        """Let each thread end once it is free."""
        for _ in range(self._count):
            self._queue.put(None)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # belongs to whoever waits
                    future.set_exception(error)
            del job, future, function  # their objects must not stay until the next job


def _step(steps: Steps[T]) -> tuple[bool, Any]:
    """Take one step; return whether it was the last one, and then the result."""
    try:
        next(steps)
    except StopIteration as end:
        return True, end.value
    return False, None


def close(steps: Generator[Any, None, Any]) -> None:
    """Let a computation that is not continued go of its files; one in the middle of a step does so after it."""
    with suppress(ValueError):  # it is executing
        steps.close()


def at_once(steps: Steps[T]) -> T:
    """Take all steps here and now; return the result."""
    while True:
        done, result = _step(steps)
        if done:
            return result  # type: ignore[no-any-return]


class Room:
    """A count of something with a limit. Beyond it is a refusal: a longer queue would only delay the failure.

    Parameters
    ----------
    limit : int
        Largest count.
    reason : str
        Detail of the refusal.
    """

    def __init__(self, limit: int, reason: str) -> None:
        self._limit = limit
        self._reason = reason
        self._taken = 0

    def take(self, amount: int = 1, *, refuse: bool = True) -> None:
        """Count `amount` more.

        Raises
        ------
        Problem
            503 if that is more than the limit, unless `refuse` is false.
        """
        if refuse and self._taken + amount > self._limit:
            raise Problem(503, "busy", self._reason, headers={"Retry-After": "5"})
        self._taken += amount

    def leave(self, amount: int = 1) -> None:
        """Count `amount` less."""
        self._taken -= amount

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Count one more within the block."""
        self.take()
        try:
            yield
        finally:
            self.leave()


class Held:
    """Bytes that one request holds. Bodies up to `LARGE_BYTES` take no room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._arrived = 0
        self._taken = 0

    def add(self, amount: int) -> None:
        """Hold more of a body; see `Room.take`."""
        self._arrived += amount
        if self._arrived > LARGE_BYTES:
            more = self._arrived - self._taken
            self._room.take(more)
            self._taken += more

    def exchange(self, amount: int) -> None:
        """Hold an answer instead of the body. It is never refused: its predictions are recorded."""
        self.close()
        self._room.take(amount, refuse=False)
        self._taken = amount

    def close(self) -> None:
        """Hold nothing any more."""
        self._room.leave(self._taken)
        self._taken = 0


class Work:
    """The service's work beside its event loop.

    Parameters
    ----------
    body_bytes : int
        Largest JSON body.

    Attributes
    ----------
    housekeeping : Threads
        Never used for requests of clients.
    """

    def __init__(self, body_bytes: int) -> None:
        self.housekeeping = Threads("housekeeping", HOUSEKEEPING)
        self._compute = Threads("compute", 1)
        self._journal = Threads("journal", 2)
        self._computations = Room(COMPUTATIONS, f"{COMPUTATIONS} requests are being computed")
        self._questions = Room(QUESTIONS, f"{QUESTIONS} requests wait for the journal")
        self._bodies = Room(LARGE_BODIES * body_bytes, "too many large bodies are being answered")
        self._large = asyncio.Semaphore(1)

    def held(self) -> Held:
        """Return a request's count of the bytes it holds."""
        return Held(self._bodies)

    async def compute(self, receive: Receive, size: int, steps: Steps[T]) -> T:
        """Return the result of a computation on a body of `size` bytes, unless the client leaves before.

        Raises
        ------
        Problem
            503 if too many requests compute, 400 if the client went away.
        """
        if size <= LOOP_BYTES:
            return at_once(steps)
        with self._computations.hold():
            if size <= LARGE_BYTES:
                return await while_connected(receive, self._compute.compute(steps))
            return await while_connected(receive, self._alone(steps))

    async def _alone(self, steps: Steps[T]) -> T:
        """Compute beside no other large body: each takes many times its bytes in memory."""
        async with self._large:
            return await self._compute.compute(steps)

    async def upload(self, receive: Receive, steps: Steps[T]) -> T:
        """Compute for an upload, whose body is on disk; uploads are counted elsewhere."""
        return await while_connected(receive, self._compute.compute(steps))

    async def step(self, function: Callable[..., T], *arguments: Any) -> T:
        """Take one step of a computation whose client is watched elsewhere."""
        return await self._compute.run(function, *arguments)

    async def ask(self, receive: Receive, function: Callable[..., T], *arguments: Any) -> T:
        """Ask the journal for a client; a question that is under way is asked to its end.

        Raises
        ------
        Problem
            503 if too many requests ask, 400 if the client went away.
        """
        with self._questions.hold():
            return await while_connected(receive, self._journal.run(function, *arguments))

    def close(self) -> None:
        """Let the threads end once they are free."""
        for threads in (self.housekeeping, self._compute, self._journal):
            threads.close()


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled when the client of a request goes away.

    Raises
    ------
    Problem
        400 if it did.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Problem(400, "disconnected", "the client went away")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait((working, leaving))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
