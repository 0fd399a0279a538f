"""A collector of traces: an OTLP receiver over HTTP, and trees of its spans."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.web import Quiet, web_server


@dataclass(frozen=True)
class Received:
    """A span as the collector received it; `parent` is empty for the root of a trace."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, Any]
    links: tuple[str, ...]
    failed: bool


@dataclass
class Collector:
    """A receiver that keeps all spans, and the attributes of their service."""

    port: int = 0
    spans: list[Received] = field(default_factory=list)
    services: list[Mapping[str, Any]] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def variables(self) -> dict[str, str]:
        """Return the environment of a process that sends its traces here, at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services.append(_values(group.resource.attributes))
            for scope in group.scope_spans:
                self.spans += [
                    Received(
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _values(span.attributes),
                        tuple(link.span_id.hex() for link in span.links),
                        span.status.code == span.status.STATUS_CODE_ERROR,
                    )
                    for span in scope.spans
                ]


def tree(spans: Iterable[Received], root: Received) -> dict[str, Any]:
    """Return the names below a span, as nested dicts."""
    known = list(spans)
    return {span.name: tree(known, span) for span in known if span.parent == root.id and span.trace == root.trace}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Receive traces on a free port of this machine."""
    collector = Collector()

    class Handler(Quiet):
        def do_POST(self):
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with web_server(Handler) as collector.port:
        yield collector


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}
