"""The model card of a registered version."""

from pathlib import Path

from churnops.data.targets import check_free
from churnops.errors import RegistryError
from churnops.evaluation.held_out import CARD
from churnops.files import fsync_folder, write_flushed
from churnops.project import Project
from churnops.registry import Registry
from churnops.settings import Settings
from churnops.tracking import Tracker

CARD_TAG = "model_card"
"""Tag of a version in MLflow: address of its card."""


def card_address(run_id: str) -> str:
    """Return the address of the card in the run of the evaluation.

    >>> card_address("0a1b")
    'runs:/0a1b/model_card.html'
    """
    return f"runs:/{run_id}/{CARD}"


def write_card(settings: Settings, version: int | None, target: Path, *, overwrite: bool = False) -> int:
    """Write the card of a version (None: the deployed one) to a file, and return the version.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is False.
    RegistryError
        If there is no such version or no card of it.
    """
    check_free(target, (), overwrite)
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        if version is None:
            bundle = project.require_deployed()
            version = registry.version_of(bundle.content_sha256)
            if version is None:
                raise RegistryError(f"the deployed model {bundle.version_name} is not registered in MLflow")
        write_flushed(target, registry.page(version, CARD))
    fsync_folder(target.parent)
    return version
