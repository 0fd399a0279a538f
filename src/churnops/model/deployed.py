"""The deployed model: the Bundle at the link `production` in the folder of models."""

from pathlib import Path

from churnops.errors import RegistryError
from churnops.model.bundle import Bundle

LINK = "production"


def deployed_folder(models: Path) -> Path | None:
    """Return the folder of the deployed model, even if somebody removed it; None if no model is deployed."""
    link = models / LINK
    return link if link.exists() or link.is_symlink() else None


def deployed(models: Path) -> Bundle | None:
    """Load the deployed model; return None if no model is deployed.

    Raises
    ------
    BundleError
        If its folder is damaged or missing.
    """
    folder = deployed_folder(models)
    return None if folder is None else Bundle.load(folder)


def require_deployed(models: Path) -> Bundle:
    """Load the deployed model.

    Raises
    ------
    RegistryError
        If no model is deployed.
    BundleError
        If its folder is damaged or missing.
    """
    bundle = deployed(models)
    if bundle is None:
        raise RegistryError(f"no model is deployed in {models}: type `churnops run` first")
    return bundle


def deployed_version(models: Path) -> str | None:
    """Return the folder name of the deployed version; None if no model is deployed."""
    link = models / LINK
    return link.readlink().name if link.is_symlink() else None
