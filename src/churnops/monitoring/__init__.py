"""Monitoring of the deployed model: drift, performance on known outcomes, and the recommendation.

Data flows one way: `collect` makes a `batch`, which is counted into profiles and compared (`drift`). The findings
become `verdicts`, the error `budget` turns verdicts into a recommendation, and `monitor` writes the `report`.
"""

from churnops.monitoring.monitor import ModelMonitor, MonitoringCycle
from churnops.monitoring.report import Report

__all__ = ["ModelMonitor", "MonitoringCycle", "Report"]
