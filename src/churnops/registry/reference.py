"""A sample of the customers that a model's promise rests on: inputs, outcomes, scores by fits that had not seen them.

It is what the dashboard analyses. Without identifiers, beside the deployed models, readable by the owner only.
"""

import re
from pathlib import Path

from churnops.errors import RegistryError
from churnops.files import close_to_others, write_flushed

FOLDER = "reference"
_SHA256 = re.compile("[0-9a-f]{64}")


def save_reference(models: Path, content_sha256: str, parquet: bytes) -> None:
    """Keep the sample of the model with this content, below the folder of models; again changes nothing."""
    path = reference_path(models, content_sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    close_to_others(path.parent)
    if not path.exists():
        write_flushed(path, parquet)
        close_to_others(path)


def reference_path(models: Path, content_sha256: str) -> Path:
    """Return where the sample of a model is, if there is one.

    Raises
    ------
    RegistryError
        If it is no hash.
    """
    if not _SHA256.fullmatch(content_sha256):
        raise RegistryError(f"{content_sha256[:80]!r} is no content hash: 64 hexadecimal digits")
    return models / FOLDER / f"{content_sha256}.parquet"
