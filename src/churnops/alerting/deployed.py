"""Health of a project's deployed model, as pages and call lists state it."""

from datetime import UTC, datetime, timedelta
from typing import get_args

from churnops.alerting.health import Health, health_of
from churnops.alerting.notices import Subject
from churnops.journal.cycles import Cycle
from churnops.model import Bundle
from churnops.project import Project
from churnops.wire import CallListHealth

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def counted_cycles(project: Project) -> tuple[Cycle, ...]:
    """Return the cycles that count, newest first."""
    series = project.cycles.between(_BEGIN, datetime.now(UTC) + timedelta(minutes=1), report_only=False)
    return series.cycles[::-1]


def deployed_health(project: Project, bundle: Bundle | None, cycles: tuple[Cycle, ...] | None = None) -> Health:
    """Return the health of the project's deployed model; `cycles` are those of `counted_cycles`, if they are known."""
    firing = project.alerts.firing(get_args(Subject))
    answered = project.folder.answered() if bundle is not None else []
    counted = counted_cycles(project) if cycles is None else cycles
    return health_of(bundle, answered, counted, firing, project.settings.monitoring)


def list_health(project: Project, bundle: Bundle) -> CallListHealth:
    """Return the health of the deployed model, as the head of a call list keeps it."""
    return as_list_health(deployed_health(project, bundle))


def as_list_health(health: Health) -> CallListHealth:
    """Return a health as the head of a call list keeps it."""
    return CallListHealth(level=health.level, word=health.word, sentence=health.sentence)
