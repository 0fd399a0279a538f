"""What pages read: settings, the model in production and the journal, opened once for all sessions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from threading import Thread

import streamlit as st

from churnops.app.shared.text import plain
from churnops.errors import ChurnopsError
from churnops.journal import DecisionLog, DeploymentLog, Journal
from churnops.journal.alerts import AlertLog
from churnops.journal.clock import entries_ahead
from churnops.journal.cycles import CycleLog
from churnops.journal.database import open_database
from churnops.journal.keys import KeyStore
from churnops.journal.seen import unmatched_sentence
from churnops.model import Bundle
from churnops.settings import Settings, apply_permissions, find_config, load_settings
from churnops.words import capital


@dataclass(frozen=True)
class Project:
    """A project's settings and what its journal's database keeps. Safe for several sessions at once."""

    settings: Settings
    journal: Journal
    cycles: CycleLog
    alerts: AlertLog
    decisions: DecisionLog
    deployments: DeploymentLog
    keys: KeyStore
    entries_ahead: Callable[[], Sequence[str]]
    unmatched_labels: Callable[[], str | None]

    @classmethod
    def open(cls, settings: Settings) -> "Project":
        """Open the journal's database.

        Raises
        ------
        JournalError
            If it does not answer.
        """
        engine = open_database(settings.database_url(settings.journal.url))
        horizon = timedelta(days=settings.journal.label_horizon)
        return cls(
            settings,
            Journal(engine, label_horizon=horizon),
            CycleLog(engine),
            AlertLog(engine),
            DecisionLog(engine),
            DeploymentLog(engine),
            KeyStore(engine),
            lambda: entries_ahead(engine, datetime.now(UTC)),
            lambda: unmatched_sentence(engine),
        )

    def warn(self) -> None:
        """Show which entries of the journal are dated ahead of this machine's clock."""
        for message in self.entries_ahead():
            st.warning(plain(f"{capital(message)}.", 500))

    @property
    def models(self) -> Path:
        """The folder of models."""
        return self.settings.path(self.settings.registry.directory)

    @property
    def reports(self) -> Path:
        """The folder of monitoring reports and retraining summaries."""
        return self.settings.path(self.settings.monitoring.directory)


@st.cache_resource(show_spinner=False)
def project() -> Project:
    """Return the project of `CHURNOPS_CONFIG`, or of the folder that the dashboard was started in."""
    # Streamlit's tables need pandas, which takes a while to load: not while somebody waits for the second page.
    Thread(target=import_module, args=("pandas",), daemon=True).start()
    settings = load_settings(find_config(Path.cwd()))
    apply_permissions(settings)
    return Project.open(settings)


def production(models: Path) -> Bundle | None:
    """Return the model that answers, loaded once; None if nothing is deployed.

    Raises
    ------
    BundleError
        If it is damaged.
    """
    link = models / "production"
    return _bundle(link.resolve()) if link.exists() else None


@st.cache_resource(show_spinner=False, max_entries=4)
def _bundle(folder: Path) -> Bundle:
    return Bundle.load(folder)


def guarded(page: Callable[[Project], None], *, draws: bool = True) -> Callable[[], None]:
    """Return a page that shows an error of ours in one line instead of breaking.

    Parameters
    ----------
    draws
        Whether it has a table or a figure when it is shown first.
    """

    def shown() -> None:
        try:
            opened = project()
            if draws or st.session_state:
                import_module("pandas")  # wait until it is loaded: Plotly fails on a half of it
            page(opened)
        except ChurnopsError as error:
            st.error(plain(error, 500))

    shown.__name__ = page.__module__.split(".")[-2]  # the page's folder
    return shown
