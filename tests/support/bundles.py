"""Damaged bundles."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from churnops.errors import BundleError
from churnops.model import Bundle
from churnops.model.bundle_folder import OUTSIDE_CONTENT, canonical


def refuse(folder: Path, reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the document and correct all hashes, as an attacker would."""
    document = json.loads((folder / "bundle.json").read_text())
    for name in document["files"]:
        if (folder / name).is_file():
            document["files"][name] = sha256((folder / name).read_bytes())
    change(document)
    content = {key: value for key, value in document.items() if key not in OUTSIDE_CONTENT}
    document["content_sha256"] = sha256(canonical(content))
    document.pop("document_sha256", None)
    document["document_sha256"] = sha256(canonical(document))
    (folder / "bundle.json").write_bytes(canonical(document))
