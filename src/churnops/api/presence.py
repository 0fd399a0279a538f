"""Reports to the journal's table of replicas: who this process is, and the model that it answers with."""

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from churnops import __version__
from churnops.api.local import listening
from churnops.api.served import ServedModel
from churnops.journal.replicas import REPORT_SECONDS, ReplicaProcess, ReplicaStore
from churnops.registry.place import Place


class Presence:
    """Reports this process to the table of replicas: when its model changes, and every few seconds.

    Methods that use the database belong in a thread.

    Parameters
    ----------
    place
        Place of the deployed models, which knows of damage in an object store.
    copy_failure
        Returns the reason why the newest deployment could not be copied to this machine; None if it could.
    """

    def __init__(
        self, store: ReplicaStore, model: ServedModel, place: Place, copy_failure: Callable[[], str | None]
    ) -> None:
        self._store = store
        self._model = model
        self._place = place
        self._copy_failure = copy_failure
        self._started = ReplicaProcess(
            secrets.token_hex(8), socket.gethostname(), "", os.getpid(), __version__, datetime.now(UTC)
        )
        self._reported: ReplicaProcess | None = None
        self._reported_at = 0.0

    def is_due(self) -> bool:
        """Return whether there is news, or the last report is old."""
        return self._present() != self._reported or time.monotonic() - self._reported_at >= REPORT_SECONDS

    def report(self) -> None:
        """Write this process's row.

        Raises
        ------
        JournalError
            If the database does not answer. The next report has the same news.
        """
        self._reported_at = time.monotonic()
        if not self._started.address:
            self._started = replace(self._started, address=_address())
        present = self._present()
        self._store.write(present)
        self._reported = present

    def _present(self) -> ReplicaProcess:
        served = self._model.current
        return replace(
            self._started,
            folder=served.folder if served else None,
            model_version=served.version if served else None,
            content_sha256=served.bundle.content_sha256 if served else None,
            loaded_at=served.loaded_at if served else None,
            followed=self._place.refused or self._model.followed,
            refused=self._model.refused or self._copy_failure(),
        )

    def leave(self) -> None:
        """Remove this process's row, if there is one.

        Raises
        ------
        JournalError
            If the database does not answer. The row then counts as away after 15 seconds.
        """
        if self._reported is not None:
            self._store.remove(self._started.id)


def _address() -> str:
    """Return the address and port at which this process listens, such as `0.0.0.0:8000`; empty if unknown."""
    return next((f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in listening() or ()), "")
