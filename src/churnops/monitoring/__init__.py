"""Watching the model in production: drift tests, performance on outcomes that are known, and the report of a cycle."""

from churnops.monitoring.monitor import ModelMonitor, MonitoringCycle

__all__ = ["ModelMonitor", "MonitoringCycle"]
