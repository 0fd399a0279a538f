"""Finish or undo deployments that a killed process left open.

`python -m churnops.pipelines.recovery` does this, and `churnops serve` starts it as a second process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from churnops.console import OutputError, prepare_streams
from churnops.errors import ChurnopsError
from churnops.journal import Deployment
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.folder import NEXT, AliasesBehindError
from churnops.settings import ENV_CONFIG, Settings, apply_permissions, find_config, load_settings
from churnops.tracking import Tracker


def has_open_deployments(settings: Settings) -> bool:
    """Return whether a deployment is open: in progress, or left by a killed process."""
    with Project.open(settings) as project:
        return bool(project.deployments.open_intents())


def finish_open_deployments(settings: Settings) -> str | None:
    """Finish or undo open deployments; return the result in one line, or None if there are none.

    A process that deploys holds a lock and finishes open deployments before its own; this function waits for it.
    """
    with Project.open(settings) as project:
        if not project.deployments.open_intents():
            return None
        closed, unfinished = recover(project)
    return "; ".join([*map(_in_words, closed), *([unfinished] if unfinished else [])]) or None


@contextmanager
def finishing_open_deployments(settings: Settings, config: Path) -> Iterator[None]:
    """Finish open deployments in a second process, so that this one neither waits nor loads MLflow.

    The second process is stopped when the block ends, which is safe at any moment.
    """
    if not has_open_deployments(settings):
        yield
        return
    command = [sys.executable, "-m", "churnops.pipelines.recovery"]
    recovery = subprocess.Popen(command, env=os.environ | {ENV_CONFIG: str(config)}, stdout=sys.stderr)
    try:
        yield
    finally:
        recovery.terminate()
        try:
            recovery.wait(5.0)
        except subprocess.TimeoutExpired:
            recovery.kill()
            recovery.wait()


def recover(project: Project) -> tuple[list[Deployment], str | None]:
    """Finish or undo open deployments; return them, and a reason if some are still open.

    MLflow is loaded only if its aliases have to move.
    """
    with project.folder.locked():
        undone = project.folder.recover()
        if not project.deployments.open_intents():
            return undone, None
    try:
        registry = Registry(Tracker(project.settings), project.folder)
        with registry.deployed.locked():
            return undone + registry.deployed.recover(), None
    except AliasesBehindError as error:
        return undone, str(error)
    except ChurnopsError as error:
        return undone, f"MLflow's aliases do not name the deployed model yet: {error}; {NEXT}"


def _in_words(closed: Deployment) -> str:
    action = f"the {'rollback' if closed.kind == 'rollback' else 'deployment'} of version {closed.version}"
    result = "it is deployed" if closed.closed == "done" else "the link was never swapped"
    return f"{action} ({closed.folder}), begun at {closed.at:%Y-%m-%d %H:%M} UTC, is {closed.closed}: {result}"


def main() -> None:
    """Finish or undo deployments that a killed process left open, and print the result."""
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
