"""What changes which model answers, beside the main job: promoting a version, going back, and tidying up after both.

`python -m churnops.pipelines.deployment` finishes or undoes what a killed process left open, as `churnops serve` does
beside its own start.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from churnops.alerting.alarms import rollback
from churnops.alerting.alerts import Alerts
from churnops.console import OutputError, prepare_streams
from churnops.errors import BundleError, ChurnopsError
from churnops.journal import Deployment, DeploymentLog
from churnops.journal.alerts import AlertLog
from churnops.journal.database import open_database
from churnops.journal.decisions import DecisionLog, RecordedDecision
from churnops.model import Bundle
from churnops.pipelines.aftermath import Aftermath
from churnops.registry import DeploymentFolder, Registry
from churnops.registry.folder import NEXT, AliasesBehindError, Pruned, UnfinishedDeploymentError
from churnops.settings import ENV_CONFIG, Settings, apply_permissions, find_config, load_settings
from churnops.tracking import Tracker

if TYPE_CHECKING:
    from churnops.retraining.gate import Decision


@dataclass(frozen=True)
class Promotion:
    """What became of a version that was to be promoted.

    Attributes
    ----------
    status
        `refused`: the gate does not let it through, and nothing has changed. `rolled back`: it was deployed, the
        running API did not answer as it should, and the model from before answers again.
    folder
        Of the model that answers now.
    decision
        The gate's; None where it was not asked, because nothing was in production, or the same content, or what was
        there is damaged.
    warning
        What is still to be done.
    """

    status: Literal["deployed", "unchanged", "refused", "rolled back"]
    version: int
    model_version: str
    folder: Path
    reason: str
    decision: "Decision | None" = None
    warning: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "status": self.status,
            "version": self.version,
            "model_version": self.model_version,
            "production": str(self.folder),
            "reason": self.reason,
            "warning": self.warning,
            "gate": self.decision.to_json() if self.decision else None,
        }


@dataclass(frozen=True)
class RolledBack:
    """Which version answers again, and the folder that answered until then.

    `warning` says what failed after the link was swapped, or is still to be done.
    """

    version: int
    model_version: str
    folder: Path
    left: str | None
    reason: str
    warning: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "version": self.version,
            "model_version": self.model_version,
            "production": str(self.folder),
            "left": self.left,
            "reason": self.reason,
            "warning": self.warning,
        }


def promote(settings: Settings, version: int, reason: str, *, force: bool = False) -> Promotion:
    """Put a registered version into production, if the gate lets it.

    The gate's decision is recorded, also a refusal; a deployment is told to the alert channels.

    Parameters
    ----------
    reason
        Why, for the deployment log; what the gate said is added.
    force
        Deploy whatever the gate says, or if it cannot be asked.

    Raises
    ------
    ChurnopsError
        If there is no such version, its files are damaged, or the gate cannot be asked. Nothing has changed.
    """
    with closing(Registry(Tracker(settings))) as registry:
        bundle = registry.bundle(version)
        with registry.deployed.locked():
            registry.deployed.recover()
            return _promote(settings, registry, bundle, version, reason, force)


def roll_back(settings: Settings, to: int | None = None, reason: str = "") -> RolledBack:
    """Go back to a model that answered before, and tell the alert channels.

    MLflow is not asked before the older model answers: it takes seconds to load, and its store may be what is down.

    Parameters
    ----------
    to
        A version. Default: what answered when the present model was deployed.

    Raises
    ------
    ChurnopsError
        If there is no way back, or the older model is damaged. Nothing has changed.
    """
    reason, aftermath = reason or "no reason given", Aftermath()
    with _without_mlflow(settings) as (deployed, alerts):
        with deployed.locked():
            left = deployed.current()
            target = deployed.way_back(None if to is None else deployed.folder_of(to))
            try:
                deployed.rollback(target.folder, reason)
            except UnfinishedDeploymentError as error:  # it answers all the same
                aftermath.add(str(error))
            folder = deployed.link.resolve()
        aftermath.deployed = True
        name = folder.name
        with aftermath.warning("the alert channels do not know"):
            name = Bundle.load(folder).version_name
            alerts.announce(rollback(name, reason, ""))
    with aftermath.warning("the deployment log is not complete yet"):
        aftermath.add(_recover(settings)[1])
    return RolledBack(target.version, name, folder, left, reason, aftermath.text)


def prune(settings: Settings, keep: int) -> Pruned:
    """Remove the oldest version folders beyond the newest `keep`; see `DeploymentFolder.prune` for what stays."""
    with closing(Registry(Tracker(settings))) as registry, registry.deployed.locked():
        return registry.prune(keep)


def has_open_deployments(settings: Settings) -> bool:
    """Whether a deployment was begun and not finished: it is under way, or its process was killed."""
    with _without_mlflow(settings) as (deployed, _):
        return bool(deployed.log.open_intents())


def finish_open_deployments(settings: Settings) -> str | None:
    """Finish or undo what a killed process left open; say in a line what was done, or why not, None if nothing is open.

    Waits while another process deploys, which does the same first.
    """
    if not has_open_deployments(settings):
        return None
    closed, behind = _recover(settings)
    said = [*map(_said, closed), *([behind] if behind else [])]
    return "; ".join(said) or None


@contextmanager
def finishing_open_deployments(settings: Settings, config: Path) -> Iterator[None]:
    """Finish open deployments in a process beside this one, which needs neither wait nor load MLflow.

    What is left of it when the block ends is stopped, which is safe at any moment.
    """
    if not has_open_deployments(settings):
        yield
        return
    command = [sys.executable, "-m", "churnops.pipelines.deployment"]
    beside = subprocess.Popen(command, env=os.environ | {ENV_CONFIG: str(config)}, stdout=sys.stderr)
    try:
        yield
    finally:
        beside.terminate()
        try:
            beside.wait(5.0)
        except subprocess.TimeoutExpired:
            beside.kill()
            beside.wait()


@contextmanager
def _without_mlflow(settings: Settings) -> Iterator[tuple[DeploymentFolder, Alerts]]:
    """Open the deployment folder for what must be quick, and possible when the MLflow store is not: aliases wait."""
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        folder = DeploymentFolder(settings.path(settings.registry.directory), DeploymentLog(engine), None)
        yield folder, Alerts.of(settings, AlertLog(engine))
    finally:
        engine.dispose()


def _recover(settings: Settings) -> tuple[list[Deployment], str | None]:
    """Finish or undo open deployments; return those, and in words what could not be done."""
    with _without_mlflow(settings) as (deployed, _), deployed.locked():
        undone = deployed.recover()
        if not deployed.log.open_intents():
            return undone, None
    try:
        with closing(Registry(Tracker(settings))) as registry, registry.deployed.locked():
            return undone + registry.deployed.recover(), None
    except AliasesBehindError as error:
        return undone, str(error)
    except ChurnopsError as error:
        return undone, f"MLflow's aliases do not say yet which model answers: {error}; {NEXT}"


def _promote(
    settings: Settings, registry: Registry, bundle: Bundle, version: int, reason: str, force: bool
) -> Promotion:
    """Ask the gate, and deploy or not. Call it locked."""
    from churnops.pipelines.deploying import put_into_production

    decision = None
    try:
        champion = registry.deployed.production()
    except BundleError as error:
        if not force:
            raise BundleError(f"{error}; --force replaces it without asking the gate") from None
        said = "the model in production was damaged"
    else:
        if champion is None:
            said = "no model was in production"
        elif champion.content_sha256 == bundle.content_sha256:
            registry.name_production(bundle.content_sha256)  # a new or emptied store does not know yet
            said = "production has the same content already"
            return Promotion("unchanged", version, bundle.version_name, registry.deployed.link.resolve(), said)
        else:
            decision, said = _ask(settings, registry, bundle, champion, force)
            if not force and not (decision and decision.deploy):
                folder = registry.deployed.link.resolve()
                return Promotion("refused", version, bundle.version_name, folder, said, decision)
    reason = f"{reason}; {said}"
    alerts = Alerts.of(settings, AlertLog(registry.engine))
    placed = put_into_production(settings, registry, alerts, bundle, version, reason, [])
    return Promotion(
        "rolled back" if placed.rolled_back else "deployed",
        version,
        bundle.version_name,
        placed.folder,
        placed.reason(reason),
        decision,
        placed.to_tell,
    )


def _ask(
    settings: Settings, registry: Registry, challenger: Bundle, champion: Bundle, force: bool
) -> tuple["Decision | None", str]:
    """Ask the gate and record what it says; return it, and in words what it means for the deployment."""
    from churnops.pipelines.deploying import record_decision
    from churnops.retraining.comparison import compare_with_production

    try:
        decision = compare_with_production(settings, registry, challenger, champion)
    except ChurnopsError as error:
        if not force:
            raise
        contents = (champion.content_sha256, challenger.content_sha256)
        recorded = RecordedDecision(datetime.now(UTC), "deploy", "cannot tell", str(error), *contents)
        DecisionLog(registry.engine).record(recorded)
        return None, f"against the gate, which could not be asked: {error}"
    record_decision(registry, decision, challenger, champion)
    if decision.deploy:
        return decision, f"the gate agrees: {decision.reason}"
    return decision, f"against the gate: {decision.reason}" if force else decision.reason


def _said(closed: Deployment) -> str:
    what = f"the {'rollback' if closed.kind == 'rollback' else 'deployment'} of version {closed.version}"
    done = "it answers" if closed.closed == "done" else "the link never was swapped"
    return f"{what} ({closed.folder}), begun at {closed.at:%Y-%m-%d %H:%M} UTC, is {closed.closed}: {done}"


def main() -> None:
    """Finish or undo what a killed process left open, and say so on standard output."""
    prepare_streams()
    code = 0
    try:
        settings = load_settings(find_config(Path.cwd()))
        apply_permissions(settings)
        message = finish_open_deployments(settings)
    except ChurnopsError as error:
        message, code = f"a deployment is unfinished: {error}", error.exit_code
    if message is not None:
        with suppress(OutputError):
            sys.stdout.write(f"churnops: {message}\n")
            sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
