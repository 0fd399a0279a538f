"""Commands of registered models: models, promote, compare, rollback."""

from pathlib import Path

import click

from churnops.cli.completion import completing, deployed_before, registered
from churnops.cli.root import (
    accept_leak_option,
    json_option,
    local_table,
    main,
    settings_of,
    show,
    show_done,
    warn,
)


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
