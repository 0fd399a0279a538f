"""Spans: names and durations of the parts of a request or a command.

Attributes name parts of the program, numbers and statuses. They never contain a customer's values or id, a key or a
text of an error, which may quote a value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from churnops.errors import ChurnopsError

if TYPE_CHECKING:
    from churnops.traces.recorder import Span, SpanRecorder

Attributes = Mapping[str, str | int]


class _WithTraces(Protocol):
    @property
    def traces(self) -> bool: ...


class Traceable(Protocol):
    """One of the jobs that `shared_span` is for."""

    @property
    def span(self) -> "Span | None":
        """The `current` span of its request."""


S = TypeVar("S", bound=_WithTraces)
P = ParamSpec("P")
R = TypeVar("R")

_NOTHING = nullcontext()
_lock = Lock()
_blocks = 0  # blocks of `recording` in progress
_recorder: "SpanRecorder | None" = None  # None while traces are off


@contextmanager
def recording(enabled: bool) -> Iterator[None]:
    """Record spans within the block if `enabled`, and send the last ones at its end, in bounded time.

    Raises
    ------
    ChurnopsError
        If the extra `otel` is not installed, or a variable of OpenTelemetry has a wrong value.
    """
    global _blocks, _recorder
    if not enabled:
        yield
        return
    with _lock:
        _recorder = _recorder or _new_recorder()
        _blocks += 1
    try:
        yield
    finally:
        ended = None
        with _lock:
            _blocks -= 1
            if _blocks == 0:
                ended, _recorder = _recorder, None
        if ended is not None:
            ended.stop()


def _new_recorder() -> "SpanRecorder":
    try:
        from churnops.traces.recorder import SpanRecorder
    except ImportError as error:
        raise ChurnopsError(
            f"traces is true, but {error.name} is not installed: pip install 'churnops[otel]'"
        ) from None
    return SpanRecorder()


def span(name: str, attributes: Attributes | None = None) -> AbstractContextManager[object]:
    """Return a `with` block for a part of the current request or command; outside of a trace it records nothing.

    >>> with span("score"):
    ...     pass
    """
    recorder = _recorder
    return _NOTHING if recorder is None else recorder.span(name, attributes)


def shared_span(name: str, jobs: Sequence[Traceable], attributes: Attributes) -> AbstractContextManager[object]:
    """Return a `with` block for work that several requests share.

    It is part of the first recorded trace, and linked with the other ones.
    """
    recorder = _recorder
    return _NOTHING if recorder is None else recorder.shared_span(name, [job.span for job in jobs], attributes)


def current() -> "Span | None":
    """Return the span of the running code, for a `Traceable`; None if no trace is recorded."""
    recorder = _recorder
    return None if recorder is None else recorder.current()


def trace_id() -> str:
    """Return the id of the trace that is recorded, as 32 hexadecimal digits; empty if there is none."""
    recorder = _recorder
    return "" if recorder is None else recorder.trace_id()


def request(headers: Mapping[bytes, bytes]) -> AbstractContextManager["Span | None"]:
    """Return a `with` block for a request, which continues the trace of its header `traceparent`.

    Its value is None if the sampler leaves the request out.
    """
    recorder = _recorder
    return nullcontext(None) if recorder is None else recorder.request(headers)


@contextmanager
def command(name: str, enabled: bool) -> Iterator[None]:
    """Record the block as a trace of its own; within another command, as a part of its trace."""
    with recording(enabled):
        recorder = _recorder if enabled else None
        with _NOTHING if recorder is None else recorder.command(name):
            yield


def operation(name: str) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Decorate a function whose first argument is the settings: each call is a `command`."""

    def decorate(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @wraps(function)
        def traced(settings: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with command(name, settings.traces):
                return function(settings, *args, **kwargs)

        return traced

    return decorate
