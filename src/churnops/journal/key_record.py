"""A file beside the models: it records that API keys exist, in case the journal with the keys is lost."""

import os
from contextlib import suppress
from pathlib import Path

from churnops.files import fsync_folder

SUFFIX = ".keys"
_TEXT = """\
API keys were made for this project, so its HTTP service requires one, even if the journal with the keys is lost.
This file holds no secret. Without it, and without keys in the journal, programs on this machine need no key.
"""


class KeyRecord:
    """A private file that exists once API keys were made; it holds no key.

    Parameters
    ----------
    registry : Path
        Folder of the deployed models. The file has the folder's name and the ending `.keys`.
    """

    def __init__(self, registry: Path) -> None:
        self.path = registry.with_name(registry.name + SUFFIX)

    def exists(self) -> bool:
        """Return whether the file exists. A file that cannot be examined counts as existing."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def write(self) -> None:
        """Write the file and flush it to disk, unless it exists.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        if self.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process was first
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(_TEXT)
                file.flush()
                os.fsync(file.fileno())
        fsync_folder(self.path.parent)
