"""Names of variables, and of the settings that only they may hold."""

ENV_PREFIX = "CHURNOPS_"
ENV_ALERT_URLS = "CHURNOPS_ALERTS__URLS"
ENV_CHECK_KEY = "CHURNOPS_RETRAINING__CHECK_KEY"
ENV_DASHBOARD_KEY = "CHURNOPS_DASHBOARD__API_KEY"
SECRETS = {
    ("alerts", "urls"): ENV_ALERT_URLS,
    ("retraining", "check_key"): ENV_CHECK_KEY,
    ("dashboard", "api_key"): ENV_DASHBOARD_KEY,
}
"""Settings that come from the environment only, and the variables that hold them."""
FILE_ONLY = (("demonstration",),)
"""Settings that no variable may change: a variable left over in a shell would turn a real project into a show."""
