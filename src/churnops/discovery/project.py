"""A new project for a customer table."""

from collections.abc import Callable, Sequence
from pathlib import Path

from churnops.data.read import table_paths
from churnops.discovery.discover import Discovery, discover
from churnops.discovery.write import free_path, write_config


def init_project(
    tables: Sequence[Path],
    target: str,
    *,
    positive: str | None = None,
    identifier: str | None = None,
    time: str | None = None,
    folder: Path,
    force: bool = False,
    progress: Callable[[int, float], None] = lambda rows, share: None,
) -> tuple[Discovery, Path]:
    """Find out what the tables hold, write `config.yaml` into a folder, and return both.

    Parameters
    ----------
    tables
        Files and folders; see `discover` for the other parameters.
    force
        Replace an existing `config.yaml`.

    Raises
    ------
    DataError
        As in `discover`.
    SettingsError
        If there is a `config.yaml` already and `force` is False.
    """
    free_path(folder, force=force)
    paths = table_paths(tables)
    table = discover(paths, target, positive=positive, identifier=identifier, time=time, progress=progress)
    return table, write_config(table, tables, folder, force=force)
