"""The deployed model: the bundle that the link `production` in the folder of models leads to."""

from pathlib import Path

from churnops.errors import RegistryError
from churnops.model.bundle import Bundle

LINK = "production"


def deployed_folder(models: Path) -> Path | None:
    """Return the folder of the deployed model, which may be missing if somebody removed it; None if there is none."""
    link = models / LINK
    return link if link.exists() or link.is_symlink() else None


def deployed(models: Path) -> Bundle | None:
    """Load the deployed model; return None if there is none.

    Raises
    ------
    BundleError
        If it is damaged, or its folder is missing.
    """
    folder = deployed_folder(models)
    return None if folder is None else Bundle.load(folder)


def require_deployed(models: Path) -> Bundle:
    """Load the deployed model.

    Raises
    ------
    RegistryError
        If there is none.
    BundleError
        If it is damaged, or its folder is missing.
    """
    bundle = deployed(models)
    if bundle is None:
        raise RegistryError(f"no model is deployed in {models}: type `churnops run` first")
    return bundle


def deployed_version(models: Path) -> str | None:
    """Return the name of the version folder in production; None if nothing is deployed."""
    link = models / LINK
    return link.readlink().name if link.is_symlink() else None
