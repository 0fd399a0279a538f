"""Traces of a running service and of commands."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from churnops.cli import main
from churnops.model import Bundle
from churnops.pipelines import sources
from churnops.pipelines.rollback import roll_back
from churnops.pipelines.run_monitoring import run_monitoring
from churnops.settings import Settings, load_settings
from tests.support.api import a_customer
from tests.support.collector import collecting, tree
from tests.support.monitoring import customers, longer_calls
from tests.support.processes import free_port, wait_for
from tests.support.serving import Deployer, Server
from tests.support.sinks import listening
from tests.support.spans import kept_spans, named, paths

PREDICTION = {
    "receive body": {},
    "check": {},
    "score and explain": {},
    "record": {"INSERT predictions": {}},
}


def traced(settings: Settings, **variables: str) -> Settings:
    """Return the settings with traces."""
    return load_settings(settings.root / "config.yaml", {"CHURNOPS_TRACES": "true", **variables})


def predict(server: Server) -> None:
    assert server.ask("POST", "/predict", json.dumps(a_customer()).encode()).status == 200


def test_workers_send_their_last_traces_when_they_stop(deployed: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHURNOPS_TRACES", "true")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        with Server(deployed, "--workers", "2") as server:
            for _ in range(8):
                predict(server)
            assert collector.spans == []
            server.terminate()
            assert server.exit_code() == 0
    requests = collector.named("POST /predict")
    assert len(requests) == 8
    assert all(tree(collector.spans, request) == PREDICTION for request in requests)


def test_a_service_with_a_dead_collector_answers_and_stops(deployed: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHURNOPS_TRACES", "true")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with Server(deployed) as server:
        predict(server)
        wait_for("the warning", lambda: "Connection refused" in server.log())
        for _ in range(3):
            predict(server)
        server.terminate()
        assert server.exit_code() == 0
        assert server.log().count("OpenTelemetry: ") == 1
        assert "Traceback" not in server.log()


def test_a_service_without_the_extra_does_not_start(deployed: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHURNOPS_TRACES", "true")
    monkeypatch.delitem(sys.modules, "churnops.traces.recorder", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    result = CliRunner().invoke(main, ["--config", str(deployed.root / "config.yaml"), "serve", "--workers", "2"])
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert line.endswith("is not installed: pip install 'churnops[otel]'")


def test_a_cycle_has_its_steps_and_the_deliveries_of_its_alerts(
    deployed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spans, path = kept_spans(monkeypatch), tmp_path / "changed.csv"
    customers(deployed, longer_calls).write_csv(path)
    with listening() as sink:
        settings = traced(deployed, CHURNOPS_ALERTS__URLS=json.dumps([sink.url]))
        run_monitoring(settings, sources.file(path, "weekly"), permitted=False)
    root = "churnops monitor"
    assert paths(spans()) == [
        root,
        f"{root} > Monitor performance",
        f"{root} > Monitor performance > collect customers",
        f"{root} > send alerts",
    ]
    assert named(spans(), "send alerts").attributes["churnops.channel"].startswith("json#")


def test_a_rollback_and_a_scored_file_are_traces(deployed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spans, settings = kept_spans(monkeypatch), traced(deployed)
    with Deployer(settings) as deployer:
        for _ in range(2):
            deployer.deploy(Bundle.load(settings.path("models/production")))
    roll_back(settings)
    assert paths(spans()) == ["churnops rollback", "churnops rollback > deploy"]
    customers(deployed).write_csv(tmp_path / "in.csv")
    monkeypatch.setenv("CHURNOPS_TRACES", "true")
    arguments = ["--config", str(settings.root / "config.yaml"), "predict"]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "in.csv"), str(tmp_path / "out.csv")])
    assert result.exit_code == 0, result.output
    root = "churnops predict"
    assert paths(spans())[:3] == [root, f"{root} > publish", f"{root} > score"]
