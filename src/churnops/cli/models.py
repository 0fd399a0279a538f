"""Commands that train, deploy and use models: run, models, promote, rollback, predict."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from churnops.cli.completion import completing, deployed_before, registered
from churnops.cli.init import describe, table_options
from churnops.cli.root import (
    accept_leak_option,
    json_option,
    local_table,
    main,
    missing_option,
    settings_of,
    show,
    show_done,
    warn,
)


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


@main.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List registered model versions and all deployments.

    The state of a version: candidate (never deployed), challenger (the gate did not deploy it), production (deployed),
    previous (deployed before it), archived (deployed earlier, or its files were removed).
    """
    if ctx.invoked_subcommand is not None:
        return
    from churnops.journal.deployment_log import in_production
    from churnops.project import Project
    from churnops.registry import Registry
    from churnops.screens import show_models
    from churnops.tracking import Tracker

    settings = settings_of(ctx)
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        versions, deployments = registry.versions(), project.deployments.history()
        history, current = in_production(project.folder.answered()), project.folder.current()
    deployed = {period.deployment.content_sha256 for period in history}
    document = {
        "production": current,
        "versions": [vars(version) | {"state": version.state(deployed)} for version in versions],
        "deployments": [vars(deployment) for deployment in deployments],
        "history": [period.to_json() for period in history],
    }
    show(as_json, lambda: document, lambda: show_models(registry.name, versions, history, current))


@models.command("prune")
@click.option(
    "--keep",
    type=click.IntRange(0),
    required=True,
    metavar="N",
    help="Number of newest versions, and of newest deployments, to keep.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@json_option
@click.pass_context
def models_prune(ctx: click.Context, keep: int, dry_run: bool, as_json: bool) -> None:
    """Delete the files of versions that are not in use, without confirmation.

    The files of a version are its folders below models/versions, its model in MLflow, the hashes of its training
    customers and its reference sample. They go together, and the version cannot be promoted any more. It stays in the
    list of `churnops models`, and its run and its model card stay in MLflow.

    These versions always stay: the deployed one, the target of `churnops rollback`, those with an alias, such as the
    challenger, the newest one, those with which a replica answers, and those whose predictions wait for outcomes. Of a
    version that stays, older folders are deleted.

    \b
    Examples:
      churnops models prune --keep 5 --dry-run   show each version, and why it stays or goes
      churnops models prune --keep 5
    """  # noqa: D301
    from churnops.pipelines.retention import prune_models

    pruned = prune_models(settings_of(ctx), keep, dry_run=dry_run)
    show_done(as_json, pruned.to_json, lambda: click.echo(pruned.sentences))
    if pruned.warning and not as_json:
        warn(pruned.warning)


@models.command("card")
@click.argument("version", type=click.IntRange(1), required=False, shell_complete=completing(registered))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("model_card.html"),
    show_default=True,
    metavar="FILE",
    help="File to write.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
@json_option
@click.pass_context
def models_card(ctx: click.Context, version: int | None, out: Path, force: bool, as_json: bool) -> None:
    """Write the model card of a registered VERSION, by default of the deployed model.

    The card is one HTML page, which opens offline: data, columns, compared families, quality with intervals, lift,
    drivers, worst segments, limits and origin. It was made in the evaluation of the version, and is in its MLflow run.

    \b
    Examples:
      churnops models card
      churnops models card 3 --out card-of-3.html
    """  # noqa: D301
    from churnops.pipelines.card import write_card

    written = write_card(settings_of(ctx), version, out, overwrite=force)
    document = {"version": written, "output": str(out)}
    show_done(as_json, lambda: document, lambda: click.echo(f"Wrote the card of version {written}: {out}"))


def reason_text(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a reason that is empty or not UTF-8."""
    if value is not None and not value.strip():
        raise click.BadParameter("the reason is empty: write a few words for the history")
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise click.BadParameter("the reason is not text in UTF-8") from None
    return value and value.strip()


@main.command()
@click.argument("version", type=click.IntRange(1), shell_complete=completing(registered))
@click.option("--reason", required=True, callback=reason_text, metavar="TEXT", help="Reason, kept in the history.")
@click.option("--force", is_flag=True, help="Deploy the version even if the gate refuses it.")
@accept_leak_option
@json_option
@click.pass_context
def promote(
    ctx: click.Context, version: int, reason: str, force: bool, accept_leak: tuple[str, ...], as_json: bool
) -> None:
    """Deploy a registered VERSION if the gate permits it.

    The gate compares this version with the deployed model on customers that neither was trained on. Its limits are
    settings under `retraining`. The comparison is printed, and recorded in the journal. If the gate refuses, the
    deployed model stays and the exit code is 2. A version with a leaking column also needs --accept-leak. With the
    setting registry.approval, the command needs an API key in CHURNOPS_REGISTRY__APPROVAL_KEY.

    \b
    Examples:
      churnops models                                     list the versions
      churnops promote 7 --reason "the spring campaign"   ask the gate
      churnops promote 7 --reason "the old one is wrong about one plan" --force
      churnops rollback                                   restore the previous model
    """  # noqa: D301
    from churnops.errors import RegistryError
    from churnops.pipelines import promote as promoting
    from churnops.screens import show_promotion

    done = promoting.promote(settings_of(ctx), version, reason, force=force, accept_leak=accept_leak)
    show_done(as_json, done.to_json, lambda: show_promotion(done))
    if done.full_warning and not as_json:
        warn(done.full_warning)
    if done.status == "rolled back":
        raise RegistryError(f"version {version} failed its check and was rolled back: {done.reason}")
    if done.status == "refused":
        hint = "" if done.unaccepted_leaks else "; --force deploys it anyway"
        raise RegistryError(f"version {version} is not deployed: {done.reason}{hint}")


@main.command()
@click.argument("first", metavar="A", type=click.IntRange(1), shell_complete=completing(registered))
@click.argument("second", metavar="B", type=click.IntRange(1), shell_complete=completing(registered))
@click.argument("table", metavar="[TABLE]", required=False)
@json_option
@click.pass_context
def compare(ctx: click.Context, first: int, second: int, table: str | None, as_json: bool) -> None:
    """Compare the registered versions A and B on the same labelled customers.

    The customers are those that neither version was trained on, each once: those of TABLE, a CSV, Parquet or Excel file
    with the outcome, or else those of the journal or of data.production. The result has both versions' metrics, the
    gain of B with its bounds, and what the gate would decide on B if A were deployed. Nothing is deployed or recorded.

    \b
    Examples:
      churnops compare 3 5
      churnops compare 3 5 data/production/churn-later.csv
    """  # noqa: D301
    from churnops.pipelines.compare import compare_versions
    from churnops.screens import show_comparison

    settings = settings_of(ctx)
    done = compare_versions(settings, first, second, None if table is None else local_table(settings, table))
    show(as_json, done.to_json, lambda: show_comparison(done))


@main.command()
@click.option(
    "--to",
    type=click.IntRange(1),
    shell_complete=completing(deployed_before),
    metavar="VERSION",
    help="Version to restore; it was deployed before. Default: the previous model.",
)
@click.option("--reason", callback=reason_text, metavar="TEXT", help="Reason, kept in the history.")
@json_option
@click.pass_context
def rollback(ctx: click.Context, to: int | None, reason: str | None, as_json: bool) -> None:
    """Roll back to an earlier model.

    The command checks the files of the earlier model and deploys it without the gate. Running servers use it within a
    second. A second rollback goes one model further back.

    \b
    Examples:
      churnops rollback --reason "complaints since noon"
      churnops rollback --to 3                            a chosen version; see `churnops models`
    """  # noqa: D301
    from churnops.pipelines.rollback import roll_back

    done = roll_back(settings_of(ctx), to, reason or "")
    text = f"Rolled back: version {done.version} ({done.model_version}) is deployed again"
    show_done(as_json, done.to_json, lambda: click.echo(text))
    if done.warning and not as_json:
        warn(done.warning)


@main.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=str))
@click.argument("target", metavar="OUT", type=click.Path(path_type=str))
@click.option("--explain", is_flag=True, help="Add the reasons of each score.")
@click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")
@click.option(
    "--accept-unknown",
    is_flag=True,
    help="Score the file although many levels of a category are unknown. They are scored as other.",
)
@missing_option
@json_option
@click.pass_context
def predict(
    ctx: click.Context,
    source: str,
    target: str,
    explain: bool,
    force: bool,
    accept_unknown: bool,
    accept_missing: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score a file, folder or query with the deployed model.

    IN and OUT are .csv or .parquet files of any size; IN may be an Excel workbook (.xlsx). OUT has the columns of IN
    and churn_probability, churn_prediction and model_version; with --explain also base_value, explanation_scale and
    top_shap_features. If IN has columns of these names, for example from an earlier scoring, they are not read, and a
    message names them. OUT is written whole or not at all. To continue an interrupted run, repeat the command.

    IN may be a folder of Parquet or CSV files, also partitioned (year=2026/month=11/part.parquet): the values of the
    partitions become columns. OUT is then a folder with a part for each piece of IN, manifest.json and _SUCCESS. The
    parts are scored in this process, or on the Dask cluster of the setting cluster.address.

    IN may be a query on PostgreSQL in a .sql file, as for data.raw: its rows are streamed, with all columns. An
    interrupted run starts again, because the query may return other rows.

    IN and OUT may be in an object store: s3://bucket/customers.parquet, az://container/folder, gs://bucket/folder.

    A level that a category does not have is scored as other. A file of at least 100 customers is refused if more than
    5 % of them have such a level in one category. An empty cell in a column that had none in training is replaced, and
    counted; a file is refused if more than 5 % of the customers, and more than five, lack such a value.
    """
    from churnops.data.stored import result
    from churnops.progress import rows_progress
    from churnops.project import Project
    from churnops.scoring.file import FileScorer
    from churnops.scoring.folder import FolderScorer
    from churnops.traces import command

    settings = settings_of(ctx)
    project = Project(settings)
    project.place.refresh()
    table = local_table(settings, source)
    with (
        command("churnops predict", settings.traces),
        rows_progress(table.name, hidden=as_json) as (on_rows, on_message),
        result(settings, target, [source], overwrite=force) as (written, overwrite),
    ):
        scorer = FileScorer(
            project.models, explain, settings.safe_csv, accept_unknown=accept_unknown, accept_missing=accept_missing
        )
        by_parts = FolderScorer(scorer, settings.cluster.address) if table.is_dir() else scorer
        done = by_parts.score(table, written, overwrite=overwrite, on_rows=on_rows, on_message=on_message)
        for sentence in done.unknown + done.empty:
            on_message(sentence)
    document = {
        "rows": done.rows,
        "predicted_to_churn": done.churners,
        "model_version": done.model_version,
        "output": str(target),
        "explained": explain,
        "resumed_rows": done.resumed_rows,
        "replaced_columns": done.replaced,
        "unknown_levels": list(done.unknown),
        "empty_cells": list(done.empty),
    }
    scored = f"Scored {done.rows:,} customers with {done.model_version}: {done.churners:,} are predicted to churn."
    show_done(as_json, lambda: document, lambda: click.echo(f"{scored} Results: {target}"))
