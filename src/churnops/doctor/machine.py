"""Checks of this machine: free disk space, permissions of files, ports, and unfinished scorings."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from stat import S_IMODE
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from churnops.doctor.finding import Parts, ProjectFinding
from churnops.errors import ChurnopsError
from churnops.files import GROUP_AND_OTHERS, OTHERS, lock_holders
from churnops.journal.unchanged import sqlite_path
from churnops.port import address, check_port
from churnops.settings.permissions import owned_files

MIN_FREE_BYTES = 500 * 2**20
"""Free space that a training, its artifacts and the journal's log need at least."""
_TIMEOUT = 1.0
_PRUNE = "churnops models prune --keep 3"


def disk(parts: Parts) -> Iterator[ProjectFinding]:
    """Check the free space of the disks that hold the project, its models and its journal."""
    settings = parts.settings
    path = sqlite_path(settings.database_url(settings.journal.url))
    size = path.stat().st_size if path and path.exists() else 0
    folders = [settings.root, settings.models, *([path.parent] if path else [])]
    disks = {folder.stat().st_dev: folder for folder in folders if folder.is_dir()}
    for folder in disks.values():
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES + size:  # a backup and an upgrade of the journal copy it
            message = f"the disk of {folder} has only {free / 2**20:,.0f} MiB left"
            yield ProjectFinding(f"{message}; {(MIN_FREE_BYTES + size) / 2**20:,.0f} MiB are needed", _PRUNE)


def permissions(parts: Parts) -> Iterator[ProjectFinding]:
    """Check that others cannot read the project's files, and that this user can write them."""
    closed, who = (OTHERS, "o") if parts.settings.permissions == "group" else (GROUP_AND_OTHERS, "go")
    paths = list(filter(Path.exists, owned_files(parts.settings)))
    if open_paths := [path for path in paths if S_IMODE(path.stat().st_mode) & closed]:
        names = ", ".join(path.name for path in open_paths)
        yield ProjectFinding(
            f"other users of this machine can reach files with customers' data: {names}",
            f"chmod {who}-rwx {' '.join(quote(str(path)) for path in open_paths)}",
        )
    if frozen := [path for path in paths if is_frozen(path)]:
        names = ", ".join(path.name for path in frozen)
        yield ProjectFinding(
            f"the file system of {names} is read-only", f"sudo mount -o remount,rw {quote(str(parts.settings.root))}"
        )
    elif refused := [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]:
        yield ProjectFinding(
            f"this user cannot read and write {', '.join(path.name for path in refused)}",
            f"sudo chown -R {os.getuid()} {' '.join(quote(str(path)) for path in refused)}",
        )


def is_frozen(path: Path) -> bool:
    """Return whether a file is on a read-only file system."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def ports(parts: Parts) -> Iterator[ProjectFinding]:
    """Check that another program does not use the ports of the API and of the dashboard."""
    api, dashboard = parts.settings.api, parts.settings.dashboard
    for command, host, port, path, mark in (
        ("serve", api.host, api.port, "/health/live", b'"live"'),
        ("dashboard", dashboard.host, dashboard.port, "/_stcore/health", b"ok"),
    ):
        try:
            check_port(host, port)
        except ChurnopsError as error:
            if not _answers(host, port, path, mark):
                yield ProjectFinding(
                    f"`churnops {command}` would fail: {error}", f"churnops {command} --port {_free_port()}"
                )


def _answers(host: str, port: int, path: str, mark: bytes) -> bool:
    """Whether a server of churnops listens at an address."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (a question, not a server)
    try:
        with urlopen(address(reached, port) + path, timeout=_TIMEOUT) as answer:  # noqa: S310
            return mark in answer.read(1000)
    except HTTPError as error:
        return error.code in (401, 403)
    except (URLError, OSError, ValueError):
        return False


def _free_port() -> int:
    """Return a port of this machine that is free at present."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def unfinished(parts: Parts) -> Iterator[ProjectFinding]:
    """Look for unfinished scorings in the project's folder and the folders in it."""
    root = parts.settings.root
    for path in (*root.glob(".*.unfinished"), *root.glob("*/.*.unfinished")):
        if path.is_dir() and not lock_holders(path):  # nobody works on it
            name = path.name.removeprefix(".").removesuffix(".unfinished")
            message = f"the scoring of {path.parent / name} is unfinished: repeat its `churnops predict`, or remove it"
            yield ProjectFinding(message, f"rm -r {quote(str(path))}", wrong=False)
