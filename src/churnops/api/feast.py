"""Columns of customers from Feast's feature server, for requests with nothing but an id."""

import logging
from collections.abc import Sequence

from starlette.types import Receive

from churnops.api.problems import Problem
from churnops.api.work import Room, Threads, while_connected
from churnops.feature_store.online import FeastRow, FeastRows, FeatureStoreError
from churnops.settings import Settings
from churnops.traces import span

log = logging.getLogger("churnops.api")

THREADS = 8  # questions to Feast at once
WAITING = 32  # limit of requests that ask Feast or wait for it


class FeastServer:
    """Asks Feast's feature server in threads of its own, so that its delays hold up nothing else."""

    def __init__(self, rows: FeastRows) -> None:
        self._rows = rows
        self._threads = Threads("feast", THREADS)
        self._waiting = Room(WAITING, f"{WAITING} requests wait for the feature store: try again later")

    @classmethod
    def of(cls, settings: Settings) -> "FeastServer | None":
        """Return the server of the settings; None if rows come from elsewhere."""
        identifier = settings.table.identifier
        if settings.features.source != "feast":
            return None
        assert identifier is not None, "features.source: feast is refused without a column of kind id"
        return cls(FeastRows(settings.features.feast_url, identifier.name))

    async def rows(self, receive: Receive, customers: Sequence[str]) -> dict[str, FeastRow]:
        """Return the newest rows of customers, by id; customers without one are left out.

        Raises
        ------
        Problem
            503 if Feast does not answer or too many requests wait for it, 400 if the client disconnects.
        """
        try:
            with self._waiting.hold(), span("ask Feast"):
                return await while_connected(receive, self._threads.run(self._rows.rows, customers))
        except FeatureStoreError as error:
            log.error("%s", error)
            detail = "the feature store does not answer"
            raise Problem(503, "feature-store", detail, headers={"Retry-After": "1"}) from None

    def close(self) -> None:
        """Let the threads end after their current questions."""
        self._threads.close()
