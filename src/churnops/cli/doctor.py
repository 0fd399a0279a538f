"""Commands that examine a project and upgrade its stores: doctor, upgrade."""

import re
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from churnops.cli.root import json_option, main, settings_of, show, show_done
from churnops.errors import SettingsError

if TYPE_CHECKING:
    from churnops.doctor import Examination
    from churnops.pipelines.upgrade import StoreUpgrade


@main.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what is wrong with this project, and which command mends it.

    Checks the settings, the deployed model and its store, unfinished deployments, the running experiment, the replicas
    of the service, the journal, the clock, locks, MLflow's store, the model's health, the schedule of monitoring,
    alerts, free disk space, permissions of files, ports, and unfinished scorings. Nothing is changed or migrated, and
    services may keep running. A part that is broken does not stop the other checks.

    Exit code: 0 if all is well, also with notes; 1 if something is wrong.

    \b
    Examples:
      churnops doctor
      churnops doctor --json | jq '.findings[] | .message, .command'
    """  # noqa: D301
    from churnops.screens.doctor import show_examination

    examination = _examination(ctx.obj)
    show(as_json, examination.to_json, lambda: show_examination(examination))
    ctx.exit(0 if examination.well else 1)


def _examination(config: Path | None) -> "Examination":
    """Examine the project of a settings file; if the settings are wrong, that is the only finding."""
    from churnops.doctor import Examination, ProjectFinding, examine
    from churnops.settings import find_config, project_settings

    path = config or find_config(Path.cwd())  # without a project, this is an error as of any command
    try:
        result = examine(project_settings(path))  # unlike `settings_of`, leaves the permissions of files
    except SettingsError as error:
        result = Examination({"settings": (ProjectFinding(str(error), "churnops config check"),)})
    if config is None:
        return result
    given = f"churnops --config {quote(str(config))} "
    return Examination(
        {
            name: tuple(replace(item, command=re.sub("^churnops ", given, item.command)) for item in items)
            for name, items in result.findings.items()
        }
    )


@main.command()
@click.option("--dry-run", is_flag=True, help="Only print what would be upgraded.")
@click.option("--backed-up", is_flag=True, help="You have a backup of a journal in a database server, made by pg_dump.")
@json_option
@click.pass_context
def upgrade(ctx: click.Context, dry_run: bool, backed_up: bool, as_json: bool) -> None:
    """Upgrade this project's stores after an upgrade of churnops.

    The stores are the journal, and MLflow's store if it is a local file. Each is backed up first, to a file beside it,
    and changed in one step: an interrupted upgrade leaves the store as it was, and its backup. Stop the service, the
    dashboard, `mlflow ui` and running pipelines first. A repeated upgrade changes nothing.

    Other commands and the service upgrade the journal too, at their start, but without a backup. Bundles, reports and
    settings of earlier versions are read as they are.

    \b
    Examples:
      churnops upgrade --dry-run
      churnops upgrade
    """  # noqa: D301
    from churnops.pipelines import upgrade as upgrading

    settings = settings_of(ctx)
    if dry_run:
        stores = upgrading.stores_of(settings)
    else:
        stores = upgrading.upgrade(settings, backed_up=backed_up, on_message=lambda text: click.echo(text, err=as_json))
    document = {"dry_run": dry_run, "stores": [store.to_json() for store in stores]}
    lines = [_sentence(store) for store in stores] or ["There is no store yet"]
    show_done(as_json, lambda: document, lambda: click.echo("\n".join(lines)))


def _sentence(store: "StoreUpgrade") -> str:
    if not store.is_due:
        return f"{store.name}: version {store.after}, nothing to do"
    verb = "upgraded" if store.done else "would be upgraded"
    return f"{store.name}: {verb} from version {store.before or 'none'} to {store.after}"
