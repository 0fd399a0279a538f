"""Metrics of the service's processes: their use of the machine, and predictions that wait for the journal.

The collectors of prometheus_client do not add up several workers.
"""

import os
import time
from math import nan
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge


class ProcessMetrics:
    """Metrics of this worker, added up over the workers of one `churnops serve`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def total(name: str, description: str) -> Gauge:
            return Gauge(f"churnops_{name}", description, registry=registry, multiprocess_mode="livesum")

        self._workers = total("workers", "Worker processes.")
        self._memory = total("memory_bytes", "Resident memory of the workers; NaN if the system does not show it.")
        self._waiting = total("journal_waiting", "Predictions that wait for their commit.")
        self._cpu = Counter("churnops_cpu_seconds", "CPU time of the workers.", registry=registry)
        self._counted = 0.0

    def show(self, waiting: int) -> None:
        """Set the metrics; `waiting` is the number of predictions that wait for their commit."""
        self._workers.set(1)
        self._memory.set(_memory_bytes())
        self._waiting.set(waiting)
        cpu = time.process_time()
        self._cpu.inc(cpu - self._counted)
        self._counted = cpu


def _memory_bytes() -> float:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:  # not Linux
        return nan
    return float(pages) * os.sysconf("SC_PAGE_SIZE")
