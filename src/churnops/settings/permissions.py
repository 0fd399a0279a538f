"""Permissions of a project's files, which contain customers' data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from churnops.files import close_to_others, create_files_for
from churnops.settings.sections import Settings


def apply_permissions(settings: Settings) -> None:
    """Apply the setting `permissions` to new files, and to the files that churnops made earlier.

    Only programs should call this: it sets the umask of the process. The user's own files stay as they are.
    """
    create_files_for(group=settings.permissions == "group")
    for path in owned_files(settings):
        close_to_others(path)


@contextmanager
def permissions_applied(settings: Settings) -> Iterator[None]:
    """Apply the setting `permissions` in a program of the user's; at the block's end the umask is as before."""
    before = os.umask(0o077)
    try:
        apply_permissions(settings)
        yield
    finally:
        os.umask(before)


def owned_files(settings: Settings) -> Iterator[Path]:
    """Yield the databases, and the folders that contain only files of churnops."""
    prefix = "sqlite:///"
    for url, suffixes in ((settings.journal.url, ("", "-wal", "-shm")), (settings.tracking.uri, ("",))):
        if url.startswith(prefix):
            for suffix in suffixes:
                yield Path(settings.database_url(url).removeprefix(prefix) + suffix)
    folders = (settings.models, *map(settings.path, (settings.monitoring.directory, settings.tracking.artifacts)))
    for folder in folders:
        inputs = (
            settings.root,
            *map(settings.path, (*settings.data.raw, *settings.training_tables, *settings.data.production)),
        )
        if folder.is_dir() and not any(path.is_relative_to(folder) for path in inputs):
            yield folder
