"""The append-only database of what happened: deployments, and later predictions and outcomes.

SQLAlchemy Core; SQLite by default, PostgreSQL by changing the URL. Rows are added, never changed.
"""

from churnops.journal.deployments import Deployment, DeploymentLog

__all__ = ["Deployment", "DeploymentLog"]
