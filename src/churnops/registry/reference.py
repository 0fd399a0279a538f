"""Reference sample: inputs, outcomes and out-of-fold scores of customers, for the dashboard's analysis.

The file is beside the deployed models and has no identifiers. The setting `permissions` decides who can read it.
"""

import re
from pathlib import Path

from churnops.errors import RegistryError
from churnops.files import close_to_others, write_flushed

FOLDER = "reference"
_SHA256 = re.compile("[0-9a-f]{64}")


def save_reference(models: Path, content_sha256: str, parquet: bytes) -> None:
    """Save the sample of the model with this content hash below the folder of models, unless the file exists."""
    path = reference_path(models, content_sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    close_to_others(path.parent)
    if not path.exists():
        write_flushed(path, parquet)
        close_to_others(path)


def reference_path(models: Path, content_sha256: str) -> Path:
    """Return the path of a model's sample, which need not exist.

    Raises
    ------
    RegistryError
        If `content_sha256` is not a hash.
    """
    if not _SHA256.fullmatch(content_sha256):
        raise RegistryError(f"{content_sha256[:80]!r} is not a content hash: give 64 hexadecimal digits")
    return models / FOLDER / f"{content_sha256}.parquet"
