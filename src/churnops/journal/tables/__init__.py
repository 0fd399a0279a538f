"""Tables of the journal's database, a file for each subject."""

from churnops.journal.tables.base import metadata, microseconds, moment
from churnops.journal.tables.comparing import experiments, exposures, exposures_log, shadow_scores
from churnops.journal.tables.contacting import (
    call_list_rows,
    call_lists,
    contacts,
    newest_scores,
    newest_scores_state,
    policies,
)
from churnops.journal.tables.deploying import decisions, deployments
from churnops.journal.tables.monitoring import alerts, cycles, deliveries, looks, profiles, simulated_files
from churnops.journal.tables.serving import (
    api_keys,
    customers,
    customers_history,
    customers_log,
    labels,
    layouts,
    online_rows,
    predictions,
    replicas,
)

SCHEMA_VERSION = "0016"
"""Newest version in `migrations/versions`. Changing a table needs a new migration."""

VERSION_TABLE = "churnops_schema_version"
"""Not Alembic's default name, which MLflow's store uses: both may share one PostgreSQL database."""

__all__ = [
    "SCHEMA_VERSION",
    "VERSION_TABLE",
    "alerts",
    "api_keys",
    "call_list_rows",
    "call_lists",
    "contacts",
    "customers",
    "customers_history",
    "customers_log",
    "cycles",
    "decisions",
    "deliveries",
    "deployments",
    "experiments",
    "exposures",
    "exposures_log",
    "labels",
    "layouts",
    "looks",
    "metadata",
    "microseconds",
    "moment",
    "newest_scores",
    "newest_scores_state",
    "online_rows",
    "policies",
    "predictions",
    "profiles",
    "replicas",
    "shadow_scores",
    "simulated_files",
]
