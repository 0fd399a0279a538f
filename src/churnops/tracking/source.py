"""Source code of a run: the file of each step's function, and all of churnops as one archive."""

import inspect
import io
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import churnops

ARCHIVE = "code/churnops.zip"


def function_source(function: Callable[..., Any]) -> dict[str, str | bytes]:
    """Return the source file of a step's function, as an artifact."""
    path = inspect.getsourcefile(function)
    return {f"code/{Path(path).name}": Path(path).read_text(encoding="utf-8")} if path else {}


@cache
def package_source() -> bytes:
    """Return the files of the package churnops as a ZIP archive; the same files give the same bytes."""
    package = Path(churnops.__file__).parent
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = zipfile.ZipInfo(path.relative_to(package.parent).as_posix())  # without the file's time
                target.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()
