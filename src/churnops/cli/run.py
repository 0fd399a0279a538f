"""The command run: from raw tables to a deployed model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from churnops.cli.init import describe, table_options
from churnops.cli.root import accept_leak_option, json_option, main, settings_of, show_done


@main.command()
@table_options
@click.option(
    "--deploy/--no-deploy",
    default=None,
    help="Deploy the best model of this run without asking the gate; or ask the gate and deploy nothing, so that "
    "`churnops promote` can deploy it later.",
)
@accept_leak_option
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    tables: tuple[Path, ...],
    target: str | None,
    positive: str | None,
    identifier: str | None,
    time: str | None,
    force: bool,
    deploy: bool | None,
    accept_leak: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the seven steps, from raw tables to a deployed model.

    With TABLE and --target, `churnops init` first writes config.yaml for this table into the current folder.

    The best model of the first run is deployed. That of a later run is deployed if the gate proves it better on
    customers that neither model was trained on; otherwise it becomes the challenger. --deploy skips the gate,
    and --no-deploy leaves the deployment to a person. A repeated run on the same data and settings gives the same
    model, and the deployment stays as it is.

    A model with a column that contains the outcome (a leak) is not deployed, unless --accept-leak names the column. The
    result has the score with and without suspected columns.
    """
    from churnops.data.accepted import leaks_named
    from churnops.discovery.summary import summary as table_summary
    from churnops.pipelines.run_all import STEPS, run_all
    from churnops.progress import steps_progress
    from churnops.screens import show_run

    described = (target, positive, identifier, time, force or None)
    if tables and target is not None:
        if ctx.obj:
            raise click.UsageError("--config and TABLE exclude each other: the settings of TABLE are written anew")
        table, ctx.obj = describe(tables, target, Path(), force, positive=positive, identifier=identifier, time=time)
        click.echo(table_summary(table, ctx.obj), err=as_json)
    elif tables or any(value is not None for value in described):
        raise click.UsageError("to describe a new table, give both: churnops run TABLE --target HEADER")
    with _naming_init():
        settings = settings_of(ctx)
    leaks_named(settings.table, accept_leak)  # before the next block: a wrong name is no fault of the table
    families = len(settings.training.families)
    with _naming_init(), steps_progress(STEPS, families, hidden=as_json) as (progress, on_family):
        summary = run_all(
            settings,
            deploy=bool(deploy),
            hold=deploy is False,
            accept_leak=accept_leak,
            progress=progress,
            on_family=on_family,
        )
    show_done(as_json, summary.to_json, lambda: show_run(summary, settings))


@contextmanager
def _naming_init() -> Iterator[None]:
    """End an error of the settings or the tables by naming the command that writes settings for a table."""
    from churnops.errors import DataError, SettingsError

    try:
        yield
    except (DataError, SettingsError) as error:
        if "churnops init" not in str(error):
            error.add_note("to describe a table anew: churnops init TABLE --target HEADER")
        raise
