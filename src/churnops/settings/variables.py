"""Environment variables, and the settings that only a variable or only the file may hold."""

ENV_PREFIX = "CHURNOPS_"
ENV_ALERT_URLS = "CHURNOPS_ALERTS__URLS"
ENV_CHECK_KEY = "CHURNOPS_RETRAINING__CHECK_KEY"
ENV_DASHBOARD_KEY = "CHURNOPS_DASHBOARD__API_KEY"
SECRETS = {
    ("alerts", "urls"): ENV_ALERT_URLS,
    ("retraining", "check_key"): ENV_CHECK_KEY,
    ("dashboard", "api_key"): ENV_DASHBOARD_KEY,
}
"""Variable of each setting that may not stand in a file."""
FILE_ONLY = (("demonstration",),)
"""Settings that no variable may change: one left in a shell would turn a real project into a demonstration."""
