"""Metrics of a worker process: use of the machine, and predictions that wait for the journal."""

import time

from prometheus_client import CollectorRegistry

from churnops.api.process_metrics import ProcessMetrics


def test_cpu_time_is_counted_once_and_gauges_show_the_present():
    registry = CollectorRegistry()
    process = ProcessMetrics(registry)
    for waiting in (3, 1):
        process.show(waiting)
    assert 0 < (registry.get_sample_value("churnops_cpu_seconds_total") or 0) <= time.process_time()
    assert (registry.get_sample_value("churnops_memory_bytes") or 0) > 1e6
    assert registry.get_sample_value("churnops_workers") == 1
    assert registry.get_sample_value("churnops_journal_waiting") == 1
