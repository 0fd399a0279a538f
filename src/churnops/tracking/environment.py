"""Environment of a run: packages, Python, machine, and the project's git commit."""

import json
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path


@cache
def requirements() -> str:
    """Return the installed packages as `name==version` lines, without churnops, which no package index has.

    Cached, because it parses the metadata of each package.
    """
    parsed = (distribution.metadata for distribution in distributions())  # parsed at each access
    versions = {metadata["Name"].lower(): metadata["Version"] for metadata in parsed if metadata["Name"]}
    versions.pop("churnops", None)
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def environment() -> str:
    """Return Python, platform and processor architecture as JSON, without names of the machine or its user."""
    facts = {
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
    }
    return json.dumps(facts, indent=2)


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out in `folder`, with `-dirty` if tracked files differ; None outside a repository."""
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
