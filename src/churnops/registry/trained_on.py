"""Training customers of each model: hashes of ids and rows beside the deployed models, never in a Bundle.

With such a file, anybody can check whether a guessed id is a customer's. So only accounts that the setting
`permissions` allows can read it.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.data.identity import Identities
from churnops.errors import BundleError, RegistryError
from churnops.files import close_to_others, fsync_folder, write_flushed
from churnops.model.arrays import read_arrays, write_arrays

VERSION = 1
"""Version of the file and of the hashes of `churnops.data.identity`: hashes of another version match nobody."""

_FOLDER = "trained_on"
_ARRAYS = {"document": np.uint8, "customers": np.uint64, "named": np.uint64, "nameless": np.uint64}


def save_trained_on(models: Path, content_sha256: str, identities: Identities) -> None:
    """Save the training customers of the model with this content; the file is on disk when this returns.

    The file appears whole or not at all, and replaces an earlier one.

    Parameters
    ----------
    models
        The folder of deployed models.

    Raises
    ------
    RegistryError
        If `content_sha256` is not a hash.
    OSError
        If the file cannot be written.
    """
    path = trained_on_path(models, content_sha256)
    document = json.dumps({"version": VERSION, "names": identities.names}).encode()
    data = write_arrays(
        {
            "document": np.frombuffer(document, dtype=np.uint8),
            "customers": identities.customers,
            "named": identities.named,
            "nameless": identities.nameless,
        }
    )
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    close_to_others(path.parent)
    write_flushed(path, data)
    close_to_others(path)
    fsync_folder(path.parent)


def load_trained_on(models: Path, content_sha256: str) -> Identities | None:
    """Return the training customers of the model with this content; None if there is no file.

    Raises
    ------
    RegistryError
        If `content_sha256` is not a hash, or the file is damaged, of a newer version or unreadable.
    """
    path = trained_on_path(models, content_sha256)
    try:
        arrays = read_arrays(path.read_bytes(), _ARRAYS, path.name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from None
    except BundleError as error:
        raise _damaged(path, f"is damaged ({error})") from None
    names = _names(arrays.pop("document"), path)
    if not all((values[1:] > values[:-1]).all() for values in arrays.values()):
        raise _damaged(path, "is damaged (its hashes are not in ascending order)")
    return Identities(names, **arrays)


def trained_on_path(models: Path, content_sha256: str) -> Path:
    """Return the path of a model's file, which need not exist; raise `RegistryError` if the hash is not one."""
    if not re.fullmatch(r"[0-9a-f]{64}", content_sha256):
        raise RegistryError(
            f"{content_sha256[:80]!r} is not a model's content hash: give the 64 hex digits in `bundle.json`"
        )
    return models / _FOLDER / f"{content_sha256}.npz"


def _names(data: NDArray[Any], path: Path) -> tuple[str, ...]:
    try:
        document = json.loads(data.tobytes())
        version, names = document["version"], document["names"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _damaged(path, "is damaged (its version or its column names cannot be read)") from None
    if version != VERSION:
        raise _damaged(path, f"has version {version!r:.20}; this churnops reads {VERSION}")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise _damaged(path, "is damaged (it does not name its columns)")
    return tuple(names)


def _damaged(path: Path, defect: str) -> RegistryError:
    return RegistryError(f"{path} {defect}: restore it from a backup, or train and deploy the model again")
