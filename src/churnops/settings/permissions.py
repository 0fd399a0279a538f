"""Permissions of the files that a project's programs write: they hold customers' data."""

from collections.abc import Iterator
from pathlib import Path

from churnops.files import close_to_others, create_files_for
from churnops.settings.sections import Settings


def apply_permissions(settings: Settings) -> None:
    """Create files from now on, and close those of an older project, as `permissions` says.

    For programs: it sets the umask of the process. Files that churnops did not make stay as they are.
    """
    create_files_for(group=settings.permissions == "group")
    for path in _owned(settings):
        close_to_others(path)


def _owned(settings: Settings) -> Iterator[Path]:
    """Yield the databases, and the folders that hold nothing but what churnops writes."""
    prefix = "sqlite:///"
    for url, suffixes in ((settings.journal.url, ("", "-wal", "-shm")), (settings.tracking.uri, ("",))):
        if url.startswith(prefix):
            for suffix in suffixes:
                yield Path(settings.database_url(url).removeprefix(prefix) + suffix)
    for name in (settings.registry.directory, settings.monitoring.directory, settings.tracking.artifacts):
        folder = settings.path(name)
        inputs = (settings.root, *map(settings.path, (*settings.data.raw, *settings.data.production)))
        if folder.is_dir() and not any(path.is_relative_to(folder) for path in inputs):
            yield folder
