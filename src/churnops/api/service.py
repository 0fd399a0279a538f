"""What requests share: settings, model, journal, access, metrics."""

import asyncio
import logging
from datetime import timedelta

from churnops.api.metrics import Metrics
from churnops.api.predictions import Recorder
from churnops.api.security import Access
from churnops.api.served import ServedModel
from churnops.api.uploads import Uploads
from churnops.errors import ChurnopsError
from churnops.journal.database import open_database
from churnops.journal.journal import Journal
from churnops.journal.keys import KeyStore
from churnops.journal.writer import JournalWriter
from churnops.settings import Settings

log = logging.getLogger("churnops.api")

MAX_PENDING = 20_000  # rows that may wait for the journal; a list must fit, and another beside it
LOOK_SECONDS = 0.5  # how often the service looks for a new deployment
KEY_LOOKS = 4  # and, every so many looks, for new and revoked keys


class Service:
    """What requests share: settings, model, journal, access, metrics."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        url = settings.database_url(settings.journal.url)
        self._engine = open_database(url, durability=settings.journal.durability)
        self.journal = Journal(self._engine, label_horizon=timedelta(days=settings.journal.label_horizon))
        self._writer = None
        if settings.journal.predictions:
            inline = settings.journal.durability == "process"
            self._writer = JournalWriter(
                self._engine, timeout=settings.api.timeout_seconds, inline=inline,
                max_pending=max(MAX_PENDING, 2 * settings.api.max_batch_rows),
            )  # fmt: skip
        self.recorder = Recorder(self._writer, metrics, required=settings.journal.required)
        self.access = Access(KeyStore(self._engine), settings.api.rate_limit)
        self.model = ServedModel(settings.path(settings.registry.directory))
        self._question: asyncio.Future[None] | None = None
        self.compute = asyncio.Semaphore(1)  # one thread computes beside the event loop
        self.uploads = Uploads(self.recorder, settings.api, self.compute)

    async def look(self) -> None:
        """Follow deployments and keys until cancelled."""
        looks = 0
        while True:
            if looks % KEY_LOOKS == 0:
                try:
                    await asyncio.to_thread(self.access.refresh)
                except ChurnopsError as error:
                    log.error("the API keys known so far stay valid: %s", error)
            try:
                await self.refresh_model()
            except Exception:  # whatever it is: a service that looks no more would keep revoked keys
                log.exception("looking for a new deployment failed")
            if self._writer is not None:
                self._writer.rest()
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def refresh_model(self, *, again: bool = False) -> None:
        """Load a new deployment if there is one, and let the metrics say which model answers."""
        await self.model.refresh(again=again)
        current = self.model.current
        self.metrics.model(current.version if current else None, self.model.refused is not None)

    async def check_journal(self) -> None:
        """Ask whether the journal answers; one question at a time, so that a database that hangs keeps one thread.

        Raises
        ------
        JournalError
            If it does not.
        TimeoutError
            If it takes too long.
        """
        if self._question is None or self._question.done():
            self._question = asyncio.ensure_future(asyncio.to_thread(self.journal.check))
        done, _ = await asyncio.wait({self._question}, timeout=self.settings.api.timeout_seconds)
        if not done:
            raise TimeoutError
        self._question.result()

    def close(self) -> None:
        """Commit what is pending and close the database."""
        if self._writer is not None:
            self._writer.close()
        self._engine.dispose()
