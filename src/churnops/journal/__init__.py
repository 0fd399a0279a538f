"""The database of events: deployments, predictions, labels, monitoring cycles, alerts, decisions; and API keys.

SQLAlchemy Core on SQLite by default, on PostgreSQL with another URL. Events are added, never changed; a key can be
revoked. `JournalWriter` writes predictions, `Journal` reads them and records labels.
"""

from sqlalchemy import Engine

from churnops.journal.database import open_database
from churnops.journal.decisions import DecisionLog, RecordedDecision
from churnops.journal.deployment_log import Deployment, DeploymentLog
from churnops.journal.journal import Journal, RecordedPrediction
from churnops.journal.labels import Label, LabelCounts
from churnops.journal.predictions import PredictionRow, new_prediction_id
from churnops.journal.writer import JournalWriter

__all__ = [
    "DecisionLog",
    "Deployment",
    "DeploymentLog",
    "Engine",
    "Journal",
    "JournalWriter",
    "Label",
    "LabelCounts",
    "PredictionRow",
    "RecordedDecision",
    "RecordedPrediction",
    "new_prediction_id",
    "open_database",
]
