"""Alerting: `alarms` follow from a report, `alerts` keeps their state and repeats them, `channels` delivers them."""
