"""The challenger of the running experiment: loaded beside the deployed model, and followed as deployments are."""

import logging
import time
from dataclasses import dataclass

from churnops.api.served import Served, decided, load_served
from churnops.decision.policy import DecisionPolicy
from churnops.errors import BundleError, ChurnopsError
from churnops.journal.experiments import Experiment, ExperimentStore
from churnops.registry.place import Place

log = logging.getLogger("churnops.api")

RETRY_SECONDS = 30.0
"""Time between two attempts to load a challenger that cannot be loaded."""


@dataclass(frozen=True)
class RunningExperiment:
    """The running experiment and its challenger; `served` is None if its files cannot be loaded."""

    experiment: Experiment
    served: Served | None


class ServedChallenger:
    """Follows the table of experiments. `refresh` belongs in a thread; `current` is replaced by one assignment.

    Parameters
    ----------
    simulated
        As for `CustomerForm`.

    Attributes
    ----------
    current
        The running experiment; None if there is none. A request takes it once.
    """

    def __init__(self, store: ExperimentStore, place: Place, *, simulated: bool = False) -> None:
        self._store = store
        self._place = place
        self._simulated = simulated
        self._next_load = 0.0
        self._policy = DecisionPolicy()
        self.current: RunningExperiment | None = None

    def decide(self, policy: DecisionPolicy) -> None:
        """Flag the customers of later requests by a policy, as `ServedModel.decide` does."""
        self._policy, running = policy, self.current
        if running is not None and running.served is not None:
            self.current = RunningExperiment(running.experiment, decided(running.served, policy))

    def refresh(self) -> None:
        """Read the running experiment, and load its challenger.

        Raises
        ------
        JournalError
            If the database does not answer. The known experiment stays.
        """
        experiment, known = self._store.running(), self.current
        again = known is not None and known.served is None and time.monotonic() >= self._next_load
        if experiment is None:
            self.current = None
        elif known is None or known.experiment.id != experiment.id or again:
            self.current = RunningExperiment(experiment, self._load(experiment))

    def _load(self, experiment: Experiment) -> Served | None:
        self._next_load = time.monotonic() + RETRY_SECONDS
        try:
            self._place.fetch(experiment.folder, experiment.challenger)
            served = load_served(self._place.versions / experiment.folder, self._simulated)
            if served.bundle.content_sha256 != experiment.challenger:
                raise BundleError("its folder has another model")
        except ChurnopsError as error:
            log.error("the challenger of %s %d cannot be loaded: %s", experiment.kind, experiment.id, error)
            return None
        log.info("challenger %s of %s %d is loaded", served.version, experiment.kind, experiment.id)
        return decided(served, self._policy)
