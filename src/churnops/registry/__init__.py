"""Registry: model versions and aliases in MLflow, and the deployed bundle on disk."""

from churnops.registry.folder import DeploymentFolder
from churnops.registry.registry import ModelVersion, Registry

__all__ = ["DeploymentFolder", "ModelVersion", "Registry"]
