"""Checks of monitoring: health of the model, the schedule of cycles, and alerts that were not delivered."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args

from churnops.alerting.health import health_of
from churnops.alerting.notices import Subject
from churnops.doctor.finding import Parts, ProjectFinding
from churnops.errors import BundleError
from churnops.journal.alerts import AlertLog
from churnops.journal.cycles import CycleLog
from churnops.model.deployed import deployed
from churnops.settings import LIVE

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLES = 6
"""Number of newest cycles that show whether monitoring has a schedule."""
_COMMAND = re.compile(r"`(churnops [^`]+)`")
_RECENT = timedelta(days=7)


def health(parts: Parts) -> Iterator[ProjectFinding]:
    """Report the health of the deployed model as the dashboard does; an unknown health is a note."""
    engine, folder = parts.journal(), parts.deployments()
    try:
        bundle = deployed(parts.place.folder)
    except BundleError:  # the check of the deployed model gives the reason
        yield ProjectFinding("not checked, because the deployed model cannot be read", "churnops doctor", wrong=False)
        return
    if engine is None or folder is None or bundle is None:
        return
    now = datetime.now(UTC)
    cycles = CycleLog(engine).between(_BEGIN, now + timedelta(minutes=1), report_only=False).cycles[::-1]
    firing = AlertLog(engine).firing(get_args(Subject))
    result = health_of(bundle, folder.answered(), cycles, firing, parts.settings.monitoring)
    if result.level == "good":
        return
    command = _COMMAND.search(result.todo)
    waits = not firing and command is None  # nothing to do but to wait for the next reports
    advice = [result.todo] if waits else []
    message = " ".join([result.sentence, *result.also, *advice]).removesuffix(".")
    wrong = result.level == "bad" or (result.level == "watch" and not waits)
    yield ProjectFinding(message, command[1] if command else "churnops monitor", wrong)


def schedule(parts: Parts) -> Iterator[ProjectFinding]:
    """Check whether cycles that began at regular times have stopped."""
    engine = parts.journal()
    times = [] if engine is None else [cycle.at for cycle in CycleLog(engine).newest(_CYCLES, source=LIVE)]
    gaps = sorted(later - earlier for later, earlier in pairwise(times))
    if len(times) < _CYCLES:
        return
    usual, silent = gaps[len(gaps) // 2], datetime.now(UTC) - times[0]
    if gaps[-1] <= 1.5 * usual and silent > max(3 * usual, timedelta(minutes=15)):
        message = f"monitoring ran every {_span(usual)}, and has not run for {_span(silent)}: its schedule has stopped"
        yield ProjectFinding(message, "churnops monitor")


def alerts(parts: Parts) -> Iterator[ProjectFinding]:
    """Check that the alerts of the last days reached every channel."""
    engine = parts.journal() if parts.settings.alerts.urls else None
    if engine is not None and (count := AlertLog(engine).undelivered(datetime.now(UTC) - _RECENT)):
        yield ProjectFinding(
            f"{count} alerts of the last 7 days have not reached every channel", "churnops alerts test"
        )


def _span(time: timedelta) -> str:
    hours = time / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours" if hours >= 2 else f"{hours * 60:.0f} min"
