"""Health of the deployed model, with its cycles cached between reruns of a page."""

from datetime import datetime

import streamlit as st

from churnops.alerting import deployed
from churnops.alerting.deployed import counted_cycles
from churnops.alerting.health import Health
from churnops.journal.cycles import Cycle
from churnops.model import Bundle
from churnops.project import Project


def deployed_health(project: Project, bundle: Bundle | None) -> Health:
    """Return the health of the project's deployed model."""
    newest = project.cycles.newest(1, report_only=None)
    cycles = _cycles(project, str(project.settings.root), newest[0].at, newest[0].report) if newest else ()
    return deployed.deployed_health(project, bundle, cycles)


@st.cache_data(show_spinner=False, max_entries=4)
def _cycles(_project: Project, root: str, newest: datetime, report: str | None) -> tuple[Cycle, ...]:
    """Return the cycles that count, newest first; the last two parameters name the newest cycle."""
    return counted_cycles(_project)
