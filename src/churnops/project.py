"""One opened project: its settings, the stores of its journal, and the folder of its deployed models."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.address import is_object_address
from churnops.decision.in_force import policy_at, under_policy
from churnops.decision.policy import DecisionPolicy
from churnops.model import Bundle
from churnops.model.deployed import deployed, require_deployed
from churnops.objects import ObjectStore
from churnops.registry.folder import DeploymentFolder
from churnops.registry.place import Place
from churnops.registry.store_place import StorePlace
from churnops.settings import Settings

if TYPE_CHECKING:  # loading SQLAlchemy takes longer than scoring a small file
    from churnops.decision.call_list import ListMaker
    from churnops.journal import DecisionLog, DeploymentLog, Engine, Journal
    from churnops.journal.alerts import AlertLog
    from churnops.journal.arm_outcomes import ExposureStore
    from churnops.journal.call_lists import CallListStore
    from churnops.journal.contacts import ContactLog
    from churnops.journal.cycles import CycleLog
    from churnops.journal.database import Durability
    from churnops.journal.experiments import ExperimentStore
    from churnops.journal.keys import KeyStore
    from churnops.journal.policies import PolicyLog
    from churnops.journal.replicas import ReplicaStore
    from churnops.journal.shadow_scores import ShadowScores
    from churnops.journal.simulated import SimulatedFiles


class Project:
    """Settings, journal and deployed models of a project. The database is opened when a store is first used.

    A command uses `with Project.open(settings) as project`. The service and the dashboard hold a `Project` for as long
    as they run. Every store is safe for several threads.

    Parameters
    ----------
    durability, moves_log
        See `journal.open_database`.
    """

    def __init__(self, settings: Settings, *, durability: "Durability" = "power", moves_log: bool = True) -> None:
        self.settings = settings
        self.models = settings.models
        self.label_horizon = timedelta(days=settings.journal.label_horizon)
        self._durability: Durability = durability
        self._moves_log = moves_log

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator["Project"]:
        """Yield the project of the settings, and close its database at the end."""
        project = cls(settings)
        try:
            yield project
        finally:
            project.close()

    def close(self) -> None:
        """Close the database, if it was opened."""
        if "engine" in vars(self):
            self.engine.dispose()

    @cached_property
    def place(self) -> Place:
        """Place of the deployed models: a folder, or an object store with a local copy."""
        address = self.settings.registry.directory
        return StorePlace(ObjectStore(address), self.models) if is_object_address(address) else Place(self.models)

    def deployed(self) -> Bundle | None:
        """Load the deployed model under the decision policy; None if there is none. See `model.deployed`."""
        self.place.refresh()
        bundle = deployed(self.models)
        return None if bundle is None else self.decided(bundle)

    def require_deployed(self) -> Bundle:
        """Load the deployed model under the decision policy; raise `RegistryError` if there is none."""
        self.place.refresh()
        return self.decided(require_deployed(self.models))

    def policy(self) -> DecisionPolicy:
        """Return the decision policy in force; version 0 if nobody has set one, or there is no journal."""
        return policy_at(self.settings.database_url(self.settings.journal.url))

    def decided(self, bundle: Bundle) -> Bundle:
        """Return a model with the threshold of the decision policy in force."""
        return under_policy(bundle, self.policy())

    @property
    def reports(self) -> Path:
        """Folder of monitoring reports and retraining summaries."""
        return self.settings.path(self.settings.monitoring.directory)

    @cached_property
    def engine(self) -> "Engine":
        """The journal's database.

        Raises
        ------
        JournalError
            If it cannot be opened.
        """
        from churnops.journal import open_database

        url = self.settings.database_url(self.settings.journal.url)
        return open_database(url, durability=self._durability, moves_log=self._moves_log)

    @cached_property
    def folder(self) -> DeploymentFolder:
        """The deployed models. Deploying here leaves MLflow's aliases; `Registry.deployed` moves them too."""
        self.place.refresh()
        return DeploymentFolder(self.place, self.deployments)

    @cached_property
    def journal(self) -> "Journal":
        """Predictions and labels."""
        from churnops.journal import Journal

        return Journal(self.engine, label_horizon=self.label_horizon)

    @cached_property
    def cycles(self) -> "CycleLog":
        """Monitoring cycles."""
        from churnops.journal.cycles import CycleLog

        return CycleLog(self.engine)

    @cached_property
    def alerts(self) -> "AlertLog":
        """Alerts that fire, and their deliveries."""
        from churnops.journal.alerts import AlertLog

        return AlertLog(self.engine)

    @cached_property
    def decisions(self) -> "DecisionLog":
        """Decisions of the gate and of the retraining policy."""
        from churnops.journal import DecisionLog

        return DecisionLog(self.engine)

    @cached_property
    def deployments(self) -> "DeploymentLog":
        """Deployments and rollbacks."""
        from churnops.journal import DeploymentLog

        return DeploymentLog(self.engine)

    @cached_property
    def keys(self) -> "KeyStore":
        """API keys."""
        from churnops.journal.key_record import KeyRecord
        from churnops.journal.keys import KeyStore

        return KeyStore(self.engine, KeyRecord(self.models))

    @cached_property
    def replicas(self) -> "ReplicaStore":
        """Processes of the service, and the model that each answers with."""
        from churnops.journal.replicas import ReplicaStore

        return ReplicaStore(self.engine)

    @cached_property
    def policies(self) -> "PolicyLog":
        """Versions of the decision policy, see `churnops.decision.in_force`."""
        from churnops.journal.policies import PolicyLog

        return PolicyLog(self.engine)

    @cached_property
    def experiments(self) -> "ExperimentStore":
        """Challengers on live customers."""
        from churnops.journal.experiments import ExperimentStore

        return ExperimentStore(self.engine)

    @cached_property
    def shadow_scores(self) -> "ShadowScores":
        """Scores of both models of a shadow."""
        from churnops.journal.shadow_scores import ShadowScores

        return ShadowScores(self.engine)

    @cached_property
    def call_lists(self) -> "CallListStore":
        """Kept call lists."""
        from churnops.journal.call_lists import CallListStore

        return CallListStore(self.engine)

    @cached_property
    def contacts(self) -> "ContactLog":
        """Contacts with customers."""
        from churnops.journal.contacts import ContactLog

        return ContactLog(self.engine)

    def list_maker(self, bundle: Bundle) -> "ListMaker":
        """Return what makes call lists with the deployed model and the decision policy in force."""
        from churnops.decision.call_list import ListMaker
        from churnops.decision.in_force import newest_policy
        from churnops.decision.reasons import Wording
        from churnops.registry.reference import reference_path

        settings = self.settings
        return ListMaker(
            self.engine,
            bundle,
            newest_policy(self.policies),
            Wording.of(bundle.schema, bundle.features, settings.table, settings.features),
            reference_path(self.models, bundle.content_sha256),
            settings.evaluation.confidence,
            settings.random_state,
        )

    @cached_property
    def exposures(self) -> "ExposureStore":
        """Customers of splits, and the arm that answered each of them."""
        from churnops.journal.arm_outcomes import ExposureStore

        return ExposureStore(self.engine)

    @cached_property
    def simulated(self) -> "SimulatedFiles":
        """Hashes of simulated files."""
        from churnops.journal.simulated import SimulatedFiles

        return SimulatedFiles(self.engine)

    def entries_ahead(self) -> tuple[str, ...]:
        """Return a message for each kind of journal entry that is dated ahead of this machine's clock."""
        from churnops.journal.clock import entries_ahead

        return entries_ahead(self.engine, datetime.now(UTC))

    def unmatched_labels(self, share: float = 0.0) -> str | None:
        """Return a warning if over `share` of the newest labels are for customers without a prediction, else None."""
        from churnops.journal.seen import unmatched_sentence

        return unmatched_sentence(self.engine, share)
