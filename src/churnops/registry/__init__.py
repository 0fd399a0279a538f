"""Which model answers: versions and aliases in MLflow's registry, and the deployed bundle on disk."""

from churnops.registry.folder import DeploymentFolder
from churnops.registry.registry import ModelVersion, Registry

__all__ = ["DeploymentFolder", "ModelVersion", "Registry"]
