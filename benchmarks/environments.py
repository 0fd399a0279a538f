"""Environments of peers whose library versions conflict with ours, made once in a cache."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

# One thread each, and no usage statistics.
QUIET = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
) | {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}


class PeerError(Exception):
    """A peer could not be installed or run; the message is one line."""


def cache(variable: str, name: str) -> Path:
    """Return the folder that an environment variable names; by default a folder in the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(variable) or home / "churnops" / name)


def environment_of(requirements: Path, folder: Path, name: str) -> str:
    """Return the Python of an environment in `folder`; make the environment if these requirements have none."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = folder / f"{requirements.stem}-{digest}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():  # also after an interruption
        shutil.rmtree(folder, ignore_errors=True)
        reason = f"{name} cannot be installed"
        output_of([sys.executable, "-m", "venv", str(folder)], reason)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        output_of([*install, str(requirements)], reason)
        complete.touch()
    return str(python)


def output_of(command: Sequence[str], reason: str, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the output of a command.

    Raises
    ------
    PeerError
        If it failed, with the last line of its output.
    """
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | QUIET | environment)
    if done.returncode != 0:
        last = last_line(done.stderr.strip() or done.stdout.strip() or "no output")
        raise PeerError(f"{reason}: {last} (exit code {done.returncode})")
    return done.stdout


def last_line(text: str) -> str:
    """Return the last line without paths and addresses of this machine.

    >>> last_line("exited with 1: error: /tmp/valid.csv: 8 values")
    'exited with 1: error: … 8 values'
    """
    return re.sub(r"(\w+:/)?/\S+", "…", text.strip().splitlines()[-1])
