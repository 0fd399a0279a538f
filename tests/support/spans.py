"""Spans of this process, in place of a collector."""

from collections.abc import Callable, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.processes import PATIENCE

Spans = Callable[[], Sequence[ReadableSpan]]


def kept_spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Keep spans in memory; the returned function returns those of the blocks that have ended."""
    exporters: list[InMemorySpanExporter] = []

    def exporter() -> InMemorySpanExporter:
        exporters.append(InMemorySpanExporter())
        return exporters[-1]

    monkeypatch.setattr("churnops.traces.recorder.exporter", exporter)
    monkeypatch.setattr("churnops.traces.recorder.FLUSH_SECONDS", PATIENCE)
    return lambda: [span for exporter in exporters for span in exporter.get_finished_spans()]


def named(spans: Sequence[ReadableSpan], name: str) -> ReadableSpan:
    """Return the only span with a name."""
    [span] = [span for span in spans if span.name == name]
    return span


def paths(spans: Sequence[ReadableSpan]) -> list[str]:
    """Return each span as the names from its root to it, sorted."""
    by_id = {span.context.span_id: span for span in spans if span.context}

    def path(span: ReadableSpan) -> str:
        above = by_id.get(span.parent.span_id) if span.parent else None
        return f"{path(above)} > {span.name}" if above else span.name

    return sorted(map(path, spans))
