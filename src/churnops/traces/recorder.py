"""Recorder of spans: OpenTelemetry's SDK, with delivery by OTLP over HTTP.

OpenTelemetry's variables choose collector, sampler, names and limits: `OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*`.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Thread

from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from churnops import __version__
from churnops.errors import SettingsError, first_line

__all__ = ["Span", "SpanRecorder", "describe"]

log = logging.getLogger("churnops.traces")

FLUSH_SECONDS = 2.0  # limit for sending the last spans
_LIBRARY = "opentelemetry"
_NOTHING = nullcontext()
_propagator = TraceContextTextMapPropagator()
exporter: Callable[[], SpanExporter] = OTLPSpanExporter


class SpanRecorder:
    """Records spans, and sends them in a thread of its own. Spans that it cannot send in time are lost.

    Raises
    ------
    SettingsError
        If a variable has a value that OpenTelemetry refuses. It only warns of most wrong values.
    """

    def __init__(self) -> None:
        self._problems = _Problems()
        own = {"service.name": "churnops", "service.version": __version__}
        try:
            resource = Resource.create(own | dict(OTELResourceDetector().detect().attributes))
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._exporter = exporter()
            self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        except ValueError as error:
            self._problems.close()
            raise SettingsError(f"a variable OTEL_… has a wrong value: {first_line(error)}") from None
        self._tracer = self._provider.get_tracer("churnops", __version__)

    def stop(self) -> None:
        """Send the last spans, and stop. Wait at most `FLUSH_SECONDS`, and no longer than the collector answers."""
        self._problems.delivery = False
        deadline = time.monotonic() + FLUSH_SECONDS
        ending = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        while ending.is_alive() and not self._problems.delivery and time.monotonic() < deadline:
            ending.join(0.02)
        if ending.is_alive():
            self._exporter.shutdown()  # no further attempts
            log.warning("the last spans were not sent")
        self._problems.close()

    def current(self) -> Span | None:
        """See `spans.current`."""
        span = get_current_span()
        return span if span.is_recording() else None

    def trace_id(self) -> str:
        """See `spans.trace_id`."""
        span = self.current()
        return "" if span is None else format_trace_id(span.get_span_context().trace_id)

    def span(self, name: str, attributes: Mapping[str, str | int] | None) -> AbstractContextManager[object]:
        """See `spans.span`."""
        if not get_current_span().is_recording():
            return _NOTHING
        return _inside(self._tracer.start_span(name, attributes=attributes))

    def command(self, name: str) -> AbstractContextManager[object]:
        """Return a `with` block for a command; see `spans.command`."""
        return _inside(self._tracer.start_span(name))

    def shared_span(
        self, name: str, spans: Iterable[Span | None], attributes: Mapping[str, str | int]
    ) -> AbstractContextManager[object]:
        """See `spans.shared_span`."""
        recorded = [span for span in spans if span is not None and span.is_recording()]
        if not recorded:
            return _NOTHING
        first, *others = recorded
        context = set_span_in_context(first, Context())
        links = [Link(other.get_span_context()) for other in others]
        span = self._tracer.start_span(name, context, SpanKind.CLIENT, attributes, links)
        for other in others:
            other.add_link(span.get_span_context())
        return _inside(span)

    def request(self, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Span | None]:
        """See `spans.request`."""
        context = Context()  # empty, because another request's span may be current: that of a pipelined request
        if b"traceparent" in headers:
            given = {name: headers.get(name.encode(), b"").decode("latin-1") for name in ("traceparent", "tracestate")}
            context = _propagator.extract(given, context)
        span = self._tracer.start_span("HTTP", context, SpanKind.SERVER)
        return _inside(span) if span.is_recording() else nullcontext(None)


def describe(span: Span, name: str, attributes: Mapping[str, str | int], *, failed: bool) -> None:
    """Name a span, and set its attributes and status."""
    span.update_name(name)
    span.set_attributes(attributes)
    if failed:
        span.set_status(StatusCode.ERROR)


@contextmanager
def _inside(span: Span) -> Iterator[Span]:
    """Make a span the current one, and end it after the block. Of an error it keeps the class: its text may quote."""
    token = attach(set_span_in_context(span))
    try:
        yield span
    except BaseException as error:
        span.set_attribute("error.type", f"{type(error).__module__}.{type(error).__qualname__}")
        span.set_status(StatusCode.ERROR)
        raise
    finally:
        detach(token)
        span.end()


class _Problems(logging.Handler):
    """Log of OpenTelemetry: the first problem of each of its loggers becomes a warning, and nothing else is printed.

    `delivery` is whether sending has failed.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.delivery = False
        self._seen: set[str] = set()
        self._logger = logging.getLogger(_LIBRARY)
        self._propagated = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on the first record of a logger."""
        self.delivery = self.delivery or ".exporter." in record.name
        if record.name not in self._seen:
            self._seen.add(record.name)
            log.warning("OpenTelemetry: %s", first_line(Exception(record.getMessage()), 300))

    def close(self) -> None:
        """Restore the library's log."""
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated
        super().close()
