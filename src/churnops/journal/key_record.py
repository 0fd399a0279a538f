"""The fact that API keys exist, in a file beside the models: it outlives the journal, which holds the keys."""

import os
from contextlib import suppress
from pathlib import Path

from churnops.files import fsync_folder

SUFFIX = ".keys"
_TEXT = """\
API keys were made for this project, so its HTTP service needs one, even if the journal that held them is lost.
This file holds no secret. Without it, and without keys in the journal, programs on this machine need no key.
"""


class KeyRecord:
    """A private file that exists once API keys were made; it holds none.

    Parameters
    ----------
    registry : Path
        Folder of the deployed models. The file has its name and the ending `.keys`.
    """

    def __init__(self, registry: Path) -> None:
        self.path = registry.with_name(registry.name + SUFFIX)

    def exists(self) -> bool:
        """Whether keys were made, as far as is known: a file that may not be looked at counts as one."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def write(self) -> None:
        """Write the file, on disk when this returns. Nothing changes if it is there.

        Raises
        ------
        OSError
            If it cannot be written.
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
