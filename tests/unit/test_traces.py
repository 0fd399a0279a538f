"""Spans of commands, their delivery to a collector, and the errors of a missing extra or a wrong variable."""

import logging
import sys
import threading
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from churnops import traces
from churnops.errors import ChurnopsError, DataError
from tests.support.collector import collecting, tree
from tests.support.processes import PATIENCE, free_port
from tests.support.spans import kept_spans, named, paths

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@dataclass
class Options:
    traces: bool = True


@traces.operation("churnops retrain")
def retrain(settings: Options) -> str:
    with traces.span("train"):
        return traces.trace_id()


@traces.operation("churnops monitor")
def monitor(settings: Options) -> str:
    with traces.span("collect"):
        pass
    return retrain(settings)


def test_an_operation_within_another_is_part_of_its_trace(monkeypatch: pytest.MonkeyPatch):
    spans = kept_spans(monkeypatch)
    trace = monitor(Options())
    root = "churnops monitor"
    assert paths(spans()) == [
        root,
        f"{root} > churnops retrain",
        f"{root} > churnops retrain > train",
        f"{root} > collect",
    ]
    assert {f"{span.context.trace_id:032x}" for span in spans()} == {trace}


def test_operations_without_the_setting_record_nothing(monkeypatch: pytest.MonkeyPatch):
    spans = kept_spans(monkeypatch)
    assert monitor(Options(traces=False)) == ""
    assert traces.current() is None
    with traces.recording(enabled=True), traces.span("outside of a trace"):
        assert traces.current() is None
    assert spans() == []


def test_an_error_is_recorded_by_its_class_alone(monkeypatch: pytest.MonkeyPatch):
    spans = kept_spans(monkeypatch)

    @traces.operation("churnops run")
    def fails(settings: Options) -> None:
        raise DataError("'Atlantis' is no state")

    with pytest.raises(DataError, match="Atlantis"):
        fails(Options())
    span = named(spans(), "churnops run")
    assert (span.status.is_ok, span.attributes["error.type"]) == (False, "churnops.errors.DataError")
    assert "Atlantis" not in span.to_json()


def test_spans_reach_a_collector_under_the_name_of_the_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=shop")
    monkeypatch.setattr("churnops.traces.recorder.FLUSH_SECONDS", PATIENCE)
    with collecting() as collector:
        for name, value in collector.variables().items():
            monkeypatch.setenv(name, value)
        monitor(Options())
        monkeypatch.setenv("OTEL_SERVICE_NAME", "churn-eu")
        monitor(Options())
    [first, second] = collector.named("churnops monitor")
    assert tree(collector.spans, first) == {"collect": {}, "churnops retrain": {"train": {}}}
    assert first.trace != second.trace
    assert [service["service.name"] for service in collector.services] == ["churnops", "churn-eu"]
    assert collector.services[0]["deployment.environment.name"] == "shop"


def test_a_dead_collector_costs_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(ENDPOINT, f"http://ann:hunter2@127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setattr("churnops.traces.recorder.FLUSH_SECONDS", PATIENCE)
    monitor(Options())
    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("churnops", "opentelemetry"))]
    assert len(lines) == 2
    assert "Connection refused" in lines[0]
    assert lines[1] == "the last spans were not sent"
    assert "hunter2" not in caplog.text + capsys.readouterr().err


def test_a_collector_that_hangs_delays_the_end_by_a_limit_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    class Hanging(InMemorySpanExporter):
        def export(self, spans):
            released.wait()
            return super().export(spans)

    released = threading.Event()
    monkeypatch.setattr("churnops.traces.recorder.FLUSH_SECONDS", 0.1)
    monkeypatch.setattr("churnops.traces.recorder.exporter", Hanging)
    monitor(Options())
    assert "the last spans were not sent" in caplog.text
    released.set()


def test_a_missing_extra_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "churnops.traces.recorder", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ChurnopsError, match=r"^traces is true, but opentelemetry\S+ is not installed: pip install '"):
        monitor(Options())
    assert monitor(Options(traces=False)) == ""


def test_a_wrong_variable_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "-1")
    with pytest.raises(ChurnopsError, match=r"^a variable OTEL_… has a wrong value: schedule_delay_millis must be pos"):
        monitor(Options())
    assert logging.getLogger("opentelemetry").propagate


def test_a_value_that_the_library_replaces_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    kept_spans(monkeypatch)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "some")
    monitor(Options())
    assert [record.getMessage() for record in caplog.records if record.name == "churnops.traces"] == [
        "OpenTelemetry: Couldn't recognize sampler some."
    ]


def test_the_log_of_the_library_is_restored(monkeypatch: pytest.MonkeyPatch):
    kept_spans(monkeypatch)
    logger = logging.getLogger("opentelemetry")
    before = list(logger.handlers), logger.propagate
    monitor(Options())
    assert (logger.handlers, logger.propagate) == before
