"""The service's model: loaded from `models/production`, and replaced as a whole by a new deployment."""

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from churnops.api.contradictions import Contradictions
from churnops.api.customers import CustomerForm
from churnops.api.examples import example_customer
from churnops.api.problems import Problem
from churnops.api.work import Threads
from churnops.decision.in_force import under_policy
from churnops.decision.policy import DecisionPolicy
from churnops.errors import BundleError
from churnops.journal.layouts import Layout
from churnops.model import Bundle
from churnops.model.deployed import LINK

log = logging.getLogger("churnops.api")


@dataclass(frozen=True)
class Served:
    """A loaded model. A request takes the model once, so the whole answer comes from one model."""

    bundle: Bundle
    form: CustomerForm
    folder: str
    loaded_at: datetime

    @cached_property
    def version(self) -> str:
        """Version of the model in answers."""
        return self.bundle.version_name

    @cached_property
    def layout(self) -> Layout:
        """Layout of the model's predictions in the journal."""
        return Layout.of_bundle(self.bundle)

    @cached_property
    def contradictions(self) -> Contradictions:
        """Check of a customer's fields against each other."""
        return Contradictions(self.bundle)

    @cached_property
    def example(self) -> dict[str, Any]:
        """Invented customer for the documentation."""
        return example_customer(self.form)


class ServedModel:
    """Loads the deployed model, and follows the link `production`.

    Parameters
    ----------
    simulated
        As for `CustomerForm`.

    Attributes
    ----------
    current
        The loaded model; replaced by one assignment.
    refused
        Reason why the newest deployment could not be loaded; None if it could.
    policy
        The decision policy by which customers are flagged; see `decide`.
    """

    def __init__(self, models: Path, threads: Threads, *, simulated: bool = False) -> None:
        self._threads = threads
        self._link = models / LINK
        self._simulated = simulated
        self._seen: Path | None = None
        self._refused_inode: int | None = None
        self._lock = asyncio.Lock()
        self.current: Served | None = None
        self.refused: str | None = None
        self.policy = DecisionPolicy()

    @property
    def followed(self) -> str | None:
        """Name of the newest deployment's folder, loaded or refused; None if the link leads nowhere."""
        return self._seen.name if self._seen else None

    def require(self) -> Served:
        """Return the loaded model.

        Raises
        ------
        Problem
            503 if no model is loaded.
        """
        if self.current is None:
            detail = "the deployed model is refused" if self.refused else "no model is deployed: run `churnops run`"
            raise Problem(503, "no-model", detail, headers={"Retry-After": "5"})
        return self.current

    async def refresh(self, *, again: bool = False) -> None:
        """Load the target of `production` if it changed (or `again`); if it is damaged, the loaded model stays.

        A damaged target is loaded again when another folder takes its name, such as a new copy from an object store.
        """
        async with self._lock:
            target = _follow(self._link)
            inode = _inode(target)
            replaced = self._refused_inode is not None and inode not in (None, self._refused_inode)
            if target == self._seen and not again and not replaced:
                return
            if not target.is_dir():
                self._seen = None  # so that the target is loaded when it exists again
                if self.current is not None and self.refused is None:
                    self._refuse("the link models/production has no target")
                return
            try:
                loaded = await self._threads.run(load_served, target, self._simulated)
            except BundleError as error:
                self._seen = target
                self._refused_inode = inode
                self._refuse(str(error).rpartition(" is refused: ")[2])  # without the path, which clients must not see
                return
            self._seen = target
            self._refused_inode = None
            self.current = decided(loaded, self.policy)
            self.refused = None
            log.info("model %s is loaded from %s", loaded.version, loaded.folder)

    def decide(self, policy: DecisionPolicy) -> None:
        """Flag the customers of later requests by a policy; each request is answered by one policy as a whole."""
        self.policy = policy
        if self.current is not None:
            self.current = decided(self.current, policy)

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        still = f"{self.current.version} stays loaded" if self.current else "no model is loaded"
        log.error("the deployed model is refused, %s: %s", still, reason)


def decided(served: Served, policy: DecisionPolicy) -> Served:
    """Return a loaded model under a policy."""
    bundle = under_policy(served.bundle, policy)
    return served if bundle is served.bundle else replace(served, bundle=bundle)


def _follow(link: Path) -> Path:
    """Return the target of a link; the link itself if it is circular or unreadable."""
    try:
        return link.resolve()
    except (OSError, RuntimeError):
        return link


def _inode(folder: Path) -> int | None:
    """Return the inode of a folder; None if it is missing."""
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def load_served(folder: Path, simulated: bool) -> Served:
    """Load a version folder, and prepare everything that the first request would wait for.

    Raises
    ------
    BundleError
        If it is damaged or missing.
    """
    bundle = Bundle.load(folder)
    bundle.explain(bundle.probes).top(bundle.selected)  # prepares explanations before the first request
    served = Served(bundle, CustomerForm(bundle.schema, simulated=simulated), folder.name, datetime.now(UTC))
    _ = served.contradictions  # made before the first request, too
    return served
