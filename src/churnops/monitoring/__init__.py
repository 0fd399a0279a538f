"""Watching the model in production: drift, performance on outcomes that are known, and what follows from both.

Data flows one way: a `batch` is counted into profiles and compared (`drift`), the findings become `verdicts`, the
error `budget` turns verdicts into a recommendation, and `monitor` makes a `report` of them.
"""

from churnops.monitoring.monitor import ModelMonitor, MonitoringCycle
from churnops.monitoring.report import Report

__all__ = ["ModelMonitor", "MonitoringCycle", "Report"]
