"""Settings: one `config.yaml` plus `CHURNOPS_*` environment variables, checked once and frozen.

A variable's name joins the section and the key with `__`: `CHURNOPS_MONITORING__DRIFT_THRESHOLD=0.01`. Its value is
read as YAML. `CHURNOPS_MONITORING__DRIFT_THRESHOLD_FILE` names a file with the value instead. An unknown name is an
error, which suggests the nearest valid name. Relative paths count from the folder of `config.yaml`, not from the
current folder.
"""

from churnops.settings.load import CONFIG_NAME, ENV_CONFIG, default_config, find_config, load_settings, project_settings
from churnops.settings.permissions import apply_permissions, permissions_applied
from churnops.settings.sections import (
    DEMONSTRATION,
    FAMILIES,
    LIVE,
    RESERVED_SOURCES,
    AlertSettings,
    ApiSettings,
    DashboardSettings,
    DerivedFeature,
    Direction,
    EvaluationSettings,
    Family,
    FeatureSettings,
    GateMetric,
    MonitoringSettings,
    RetrainingSettings,
    Settings,
    SourceName,
)
from churnops.settings.variables import (
    ENV_ALERT_URLS,
    ENV_APPROVAL_KEY,
    ENV_CHECK_KEY,
    ENV_DASHBOARD_KEY,
    ENV_PREFIX,
    ENV_WEBHOOK_SECRET,
    SECRETS,
)
from churnops.settings.yaml import read_yaml

__all__ = [
    "CONFIG_NAME",
    "DEMONSTRATION",
    "ENV_ALERT_URLS",
    "ENV_APPROVAL_KEY",
    "ENV_CHECK_KEY",
    "ENV_CONFIG",
    "ENV_DASHBOARD_KEY",
    "ENV_PREFIX",
    "ENV_WEBHOOK_SECRET",
    "FAMILIES",
    "LIVE",
    "RESERVED_SOURCES",
    "SECRETS",
    "AlertSettings",
    "ApiSettings",
    "DashboardSettings",
    "DerivedFeature",
    "Direction",
    "EvaluationSettings",
    "Family",
    "FeatureSettings",
    "GateMetric",
    "MonitoringSettings",
    "RetrainingSettings",
    "Settings",
    "SourceName",
    "apply_permissions",
    "default_config",
    "find_config",
    "load_settings",
    "permissions_applied",
    "project_settings",
    "read_yaml",
]
