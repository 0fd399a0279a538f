"""Health of the deployed model, with its cycles cached between reruns of a page."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import streamlit as st

from churnops.alerting.health import Health, health_of
from churnops.alerting.notices import Subject
from churnops.journal.cycles import Cycle, CycleLog
from churnops.model import Bundle
from churnops.project import Project

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def deployed_health(project: Project, bundle: Bundle | None) -> Health:
    """Return the health of the project's deployed model."""
    newest = project.cycles.newest(1, report_only=None)
    cycles = _cycles(project.cycles, str(project.settings.root), newest[0].at, newest[0].report) if newest else ()
    firing = project.alerts.firing(get_args(Subject))
    answered = project.folder.answered() if bundle is not None else []
    return health_of(bundle, answered, cycles, firing, project.settings.monitoring)


@st.cache_data(show_spinner=False, max_entries=4)
def _cycles(_log: CycleLog, root: str, newest: datetime, report: str | None) -> tuple[Cycle, ...]:
    """Return the cycles that count, newest first; the last two parameters name the newest cycle."""
    series = _log.between(_BEGIN, datetime.now(UTC) + timedelta(minutes=1), report_only=False)
    return series.cycles[::-1]
