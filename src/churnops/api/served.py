"""The model under the service: loaded from `models/production`, swapped whole when another is deployed."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from churnops.api.customers import CustomerForm
from churnops.api.examples import example_customer
from churnops.api.problems import Problem
from churnops.api.work import Threads
from churnops.errors import BundleError
from churnops.model import Bundle
from churnops.model.deployed import LINK

log = logging.getLogger("churnops.api")


@dataclass(frozen=True)
class Served:
    """One model and what is derived from it. A request takes it once, so its answer is wholly from one model."""

    bundle: Bundle
    form: CustomerForm
    folder: str
    loaded_at: datetime

    @cached_property
    def version(self) -> str:
        """The version that answers name."""
        return self.bundle.version_name

    @cached_property
    def example(self) -> dict[str, Any]:
        """A made-up customer, as a client would send it."""
        return example_customer(self.form)


class ServedModel:
    """Holds the model that answers, and follows the link `production`; `simulated` is for its `CustomerForm`.

    `current` is replaced by one assignment; `refused` says why the newest deployment does not answer, if so.
    """

    def __init__(self, models: Path, threads: Threads, *, simulated: bool = False) -> None:
        self._threads = threads
        self._link = models / LINK
        self._simulated = simulated
        self._seen: Path | None = None
        self._lock = asyncio.Lock()
        self.current: Served | None = None
        self.refused: str | None = None

    def require(self) -> Served:
        """Return the model that answers.

        Raises
        ------
        Problem
            503 if there is none.
        """
        if self.current is None:
            detail = "the deployed model is refused" if self.refused else "no model is deployed: type `churnops run`"
            raise Problem(503, "no-model", detail, headers={"Retry-After": "5"})
        return self.current

    async def refresh(self, *, again: bool = False) -> None:
        """Load what `production` points to, if that changed (or `again`); a damaged bundle leaves all as it is."""
        async with self._lock:
            target = _follow(self._link)
            if target == self._seen and not again:
                return
            if not target.is_dir():
                self._seen = None  # so that the same target, once it is back, is looked at again
                if self.current is not None and self.refused is None:
                    self._refuse("the link to the model in production leads nowhere")
                return
            try:
                loaded = await self._threads.run(_load, target, self._simulated)
            except BundleError as error:
                self._seen = target
                self._refuse(str(error).rpartition(" is refused: ")[2])  # the path before it is nobody's business
                return
            self._seen = target
            self.current = loaded
            self.refused = None
            log.info("model %s answers, from %s", loaded.version, loaded.folder)

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        still = f"{self.current.version} keeps answering" if self.current else "nothing answers"
        log.error("the deployed model is refused, %s: %s", still, reason)


def _follow(link: Path) -> Path:
    """Return where a link leads; one that leads in a circle or may not be read leads to itself."""
    try:
        return link.resolve()
    except (OSError, RuntimeError):
        return link


def _load(folder: Path, simulated: bool) -> Served:
    bundle = Bundle.load(folder)
    bundle.explain(bundle.probes).top(bundle.selected)  # builds what explanations need, before the first request
    return Served(bundle, CustomerForm(bundle.schema, simulated=simulated), folder.name, datetime.now(UTC))
