"""Start, stop and describe a shadow."""

from churnops.errors import RegistryError
from churnops.experiments.experiment import start_experiment
from churnops.experiments.shadow import described, look_at
from churnops.journal.experiments import Experiment
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.folder import who
from churnops.settings import Settings
from churnops.tracking import Tracker
from churnops.wire import ShadowAnswer


def start_shadow(settings: Settings, version: int, share: float, why: str) -> ShadowAnswer:
    """Let a registered version score live customers beside the deployed model.

    Raises
    ------
    ChurnopsError
        If there is no such version, it cannot be compared with the deployed model, or an experiment is running.
    """
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        challenger = registry.bundle(version)
        _refuse_personal(challenger, version)
        with registry.deployed.locked():
            return described(start_experiment(project, "shadow", challenger, version, share, who(), why))


def stop_shadow(settings: Settings, why: str) -> ShadowAnswer:
    """End the running shadow, after a last look at its evidence, which may end it.

    Raises
    ------
    ChurnopsError
        If no shadow is running, or the journal does not answer.
    """
    with Project.open(settings) as project:
        running = project.experiments.running("shadow")
        if running is None:
            raise RegistryError("no shadow is running: `churnops shadow start VERSION` starts one")
        look_at(project, running)
        project.experiments.end(running.id, "stopped", who(), why)
        return _described(project, running.id)


def report_shadow(settings: Settings, shadow: int | None = None) -> ShadowAnswer:
    """Look at a shadow's evidence now, by default the newest shadow's, and describe it. A verdict ends a running one.

    Raises
    ------
    ChurnopsError
        If there is no such shadow, or the journal does not answer.
    """
    with Project.open(settings) as project:
        chosen = _shadow(project, shadow)
        look_at(project, chosen)
        return _described(project, chosen.id)


def _shadow(project: Project, number: int | None) -> Experiment:
    chosen = project.experiments.get(number) if number else next(iter(project.experiments.newest(kind="shadow")), None)
    if chosen is None or chosen.kind != "shadow":
        which = f"there is no shadow {number}" if number else "no shadow was started yet"
        raise RegistryError(f"{which}: `churnops shadow start VERSION` starts one")
    return chosen


def _described(project: Project, number: int) -> ShadowAnswer:
    shadow = project.experiments.get(number)
    assert shadow is not None
    return described(shadow)


def _refuse_personal(challenger: Bundle, version: int) -> None:
    """Refuse a challenger with personal inputs: the journal, from whose rows it scores, does not have their values."""
    if names := ", ".join(column.full_name for column in challenger.schema.model_inputs if column.personal):
        raise RegistryError(
            f"version {version} cannot score recorded customers: the journal does not keep the personal inputs {names}"
        )
