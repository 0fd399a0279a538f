"""The dashboard's project, opened once for all sessions, and its deployed model, loaded once."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Thread

import streamlit as st

from churnops.app.shared.text import plain
from churnops.decision.in_force import newest_policy, under_policy
from churnops.errors import ChurnopsError
from churnops.model import Bundle
from churnops.model.deployed import deployed_folder
from churnops.project import Project
from churnops.settings import apply_permissions, find_config, load_settings
from churnops.words import capital

NO_MODEL = "No model is deployed yet. Type `churnops run` in the project's folder: it trains one and deploys it."


@st.cache_resource(show_spinner=False)
def project() -> Project:
    """Return the project of `CHURNOPS_CONFIG`, or of the folder where the dashboard was started."""
    # Streamlit's tables need pandas, which loads slowly: load it in the background before a page needs it.
    Thread(target=import_module, args=("pandas",), daemon=True).start()
    settings = load_settings(find_config(Path.cwd()))
    apply_permissions(settings)
    opened = Project(settings)
    _ = opened.engine  # open the database now: the cache's lock keeps other sessions out
    opened.place.refresh()
    return opened


def production(project: Project) -> Bundle | None:
    """Return the deployed model, loaded once, under the decision policy in force; None if there is none.

    Raises
    ------
    BundleError
        If the model is damaged.
    """
    folder = deployed_folder(project.models)
    return None if folder is None else under_policy(_bundle(folder.resolve()), newest_policy(project.policies))


@st.cache_resource(show_spinner=False, max_entries=4)
def _bundle(folder: Path) -> Bundle:
    return Bundle.load(folder)


def warn(project: Project) -> None:
    """Warn about entries of the journal that are dated in the future."""
    for message in project.entries_ahead():
        st.warning(plain(f"{capital(message)}.", 500))


def guarded(page: Callable[[Project], None], *, draws: bool = True) -> Callable[[], None]:
    """Return a page that shows a ChurnopsError in one line.

    Parameters
    ----------
    draws
        Whether the page has a table or a figure when it opens.
    """

    def shown() -> None:
        try:
            opened = project()
            Thread(target=opened.place.refresh, daemon=True).start()  # the page does not wait for an object store
            if draws or st.session_state:
                import_module("pandas")  # waits for the thread in `project`: Plotly fails on a half-loaded pandas
            page(opened)
        except ChurnopsError as error:
            st.error(plain(error, 500))

    shown.__name__ = page.__module__.split(".")[-2]  # the page's folder
    return shown
