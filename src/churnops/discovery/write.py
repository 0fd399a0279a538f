"""Write the `config.yaml` of a discovered table, checked, and never over an existing file without permission."""

import os
from collections.abc import Sequence
from pathlib import Path

from churnops.discovery.config_text import config_text
from churnops.discovery.discover import Discovery
from churnops.errors import SettingsError
from churnops.features import all_features
from churnops.files import write_flushed
from churnops.settings import CONFIG_NAME, Settings, read_yaml


def free_path(folder: Path, *, force: bool) -> Path:
    """Return the path of `config.yaml` in a folder; refuse an existing one unless `force`, and a bad folder.

    Raises
    ------
    SettingsError
        If the file exists and `force` is False, or the folder is a file.
    """
    path = folder / CONFIG_NAME
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is not a folder")
    if path.exists() and not force:
        raise SettingsError(f"{path} exists: --force replaces it")
    return path


def write_config(table: Discovery, sources: Sequence[Path], folder: Path, *, force: bool) -> Path:
    """Write `config.yaml` into a folder, which is made if it does not exist.

    Parameters
    ----------
    sources
        Files and folders of the table; the settings have their paths relative to `folder`.

    Raises
    ------
    SettingsError
        If there is a `config.yaml` already and `force` is False.
    """
    path = free_path(folder, force=force)
    text = config_text(table, [os.path.relpath(source.resolve(), folder.resolve()) for source in sources])
    settings = Settings.parse(read_yaml(text), folder.resolve())
    all_features(settings.table, settings.features, one_hot=settings.training.recipe == "report")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{CONFIG_NAME}.{os.getpid()}")
    try:
        write_flushed(temporary, text.encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
