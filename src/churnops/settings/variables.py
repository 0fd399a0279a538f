"""Environment variables, the settings that only a variable may set, and those that only the file may set."""

ENV_PREFIX = "CHURNOPS_"
ENV_FILE = "_FILE"
"""Ending of a variable that names a file with the value, as containers mount secrets."""
ENV_ALERT_URLS = "CHURNOPS_ALERTS__URLS"
ENV_CHECK_KEY = "CHURNOPS_RETRAINING__CHECK_KEY"
ENV_DASHBOARD_KEY = "CHURNOPS_DASHBOARD__API_KEY"
ENV_APPROVAL_KEY = "CHURNOPS_REGISTRY__APPROVAL_KEY"
ENV_WEBHOOK_SECRET = "CHURNOPS_REGISTRY__WEBHOOK_SECRET"  # noqa: S105  (a name)
SECRETS = {
    ("alerts", "urls"): ENV_ALERT_URLS,
    ("retraining", "check_key"): ENV_CHECK_KEY,
    ("dashboard", "api_key"): ENV_DASHBOARD_KEY,
    ("registry", "approval_key"): ENV_APPROVAL_KEY,
    ("registry", "webhook_secret"): ENV_WEBHOOK_SECRET,
}
"""Variable of each secret setting, which the file must not set."""
FILE_ONLY = (("demonstration",),)
"""Settings that no variable may change: a forgotten variable would turn a real project into a demonstration."""
