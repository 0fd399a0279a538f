"""Commands that make models, choose which one answers, and use it: run, models, promote, rollback, predict."""

import json
from pathlib import Path

import click

from churnops.cli.root import json_option, main, settings_of, showing, warn


@main.command()
@click.option("--deploy", is_flag=True, help="Replace the model in production, whatever the gate says.")
@json_option
@click.pass_context
def run(ctx: click.Context, deploy: bool, as_json: bool) -> None:
    """Run the seven steps: raw tables to a deployed model.

    The first winner is deployed. A later one goes through the gate: it is deployed if it is better beyond doubt on
    customers whom neither model was trained on, and otherwise registered as challenger. --deploy goes past the gate.
    The same data and settings give the same model: then nothing moves.
    """
    from churnops.pipelines.run_all import STEPS, run_all
    from churnops.screens import show_run, steps_progress

    settings = settings_of(ctx)
    with steps_progress(STEPS, len(settings.training.families), hidden=as_json) as (progress, on_family):
        summary = run_all(settings, deploy=deploy, progress=progress, on_family=on_family)
    with showing():
        if as_json:
            click.echo(json.dumps(summary.to_json()))
        else:
            show_run(summary, settings)


@main.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List registered versions, which one answers, and what was in production when, by whom, and why."""
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
        history, answers = in_production(project.folder.answered()), project.folder.current()
    if as_json:
        document = {
            "production": answers,
            "versions": [vars(version) for version in versions],
            "deployments": [vars(deployment) for deployment in deployments],
            "history": [spell.to_json() for spell in history],
        }
        click.echo(json.dumps(document, default=str))
    else:
        show_models(registry.name, versions, history, answers)


@models.command("prune")
@click.option(
    "--keep", type=click.IntRange(0), required=True, metavar="N", help="How many of the newest deployments stay."
)
@json_option
@click.pass_context
def models_prune(ctx: click.Context, keep: int, as_json: bool) -> None:
    """Delete the folders of old deployments.

    They lie below models/versions. What is in production always stays, and so do the versions that MLflow calls
    previous and challenger, and the one that `churnops rollback` leads to. The copies in MLflow stay too: `churnops
    promote` deploys one again. It asks nothing first.

    \b
    Example:
      churnops models prune --keep 5
    """  # noqa: D301
    from churnops.project import Project
    from churnops.registry import Registry
    from churnops.tracking import Tracker

    settings = settings_of(ctx)
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        with registry.deployed.locked():
            pruned = registry.prune(keep)
    with showing():
        if as_json:
            click.echo(json.dumps({"removed": pruned.folders, "bytes": pruned.bytes}))
            return
        for folder in pruned.folders:
            click.echo(f"removed {folder}")
        click.echo(f"{len(pruned.folders)} folders removed, {pruned.bytes / 1e6:.1f} MB freed")


def given(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty reason, and one that is no text."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty: say in a few words why, for whoever reads the history")
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise click.BadParameter("it is not text in UTF-8") from None
    return value and value.strip()


@main.command()
@click.argument("version", type=click.IntRange(1))
@click.option("--reason", required=True, callback=given, metavar="TEXT", help="Why, for the history.")
@click.option("--force", is_flag=True, help="Deploy it whatever the gate says.")
@json_option
@click.pass_context
def promote(ctx: click.Context, version: int, reason: str, force: bool, as_json: bool) -> None:
    """Put a registered VERSION into production, if the gate lets it.

    The gate compares it with the model in production, on customers whom neither was trained on, by the settings in
    retraining. Its numbers are shown, and its verdict is kept. A version that it does not let through is refused (exit
    code 2), and nothing changes.

    \b
    Examples:
      churnops models                                     which versions there are
      churnops promote 7 --reason "the spring campaign"   asks the gate
      churnops promote 7 --reason "the old one is wrong about one plan" --force
      churnops rollback                                   what answered before answers again
    """  # noqa: D301
    from churnops.errors import RegistryError
    from churnops.pipelines import promote as promoting
    from churnops.screens import show_promotion

    done = promoting.promote(settings_of(ctx), version, reason, force=force)
    with showing():
        if as_json:
            click.echo(json.dumps(done.to_json()))
        else:
            show_promotion(done)
    if done.full_warning:
        warn(done.full_warning)
    if done.status == "rolled back":
        raise RegistryError(f"version {version} was deployed, and the model from before answers again: {done.reason}")
    if done.status == "refused":
        raise RegistryError(f"version {version} is not promoted: {done.reason}; --force promotes it against the gate")


@main.command()
@click.option(
    "--to",
    type=click.IntRange(1),
    metavar="VERSION",
    help="A version that was in production. Default: what answered before the present one was deployed.",
)
@click.option("--reason", callback=given, metavar="TEXT", help="Why, for the history.")
@json_option
@click.pass_context
def rollback(ctx: click.Context, to: int | None, reason: str | None, as_json: bool) -> None:
    """Go back to a model that was in production before, at once and without asking the gate.

    Its folder is still there and is checked first; running servers follow within a second. Twice goes two back.

    \b
    Examples:
      churnops rollback --reason "complaints since noon"
      churnops rollback --to 3                            a certain version; `churnops models` shows the history
    """  # noqa: D301
    from churnops.pipelines.rollback import roll_back

    done = roll_back(settings_of(ctx), to, reason or "")
    with showing():
        if as_json:
            click.echo(json.dumps(done.to_json()))
        else:
            click.echo(f"version {done.version} ({done.model_version}) is in production again, from {done.folder}")
    if done.warning and not as_json:
        warn(done.warning)


@main.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--explain", is_flag=True, help="Add what each score is made of.")
@click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")
@json_option
@click.pass_context
def predict(ctx: click.Context, source: Path, target: Path, explain: bool, force: bool, as_json: bool) -> None:
    """Score a file of customers, of any size, with the deployed model.

    IN and OUT are .csv or .parquet, by their ending. OUT gets IN's columns plus churn_probability,
    churn_prediction and model_version; with --explain also base_value, explanation_scale and top_shap_features.
    It is written whole or not at all. A run that was stopped goes on when the same command is typed again.
    """
    from churnops.scoring.file import FileScorer
    from churnops.screens import rows_progress

    settings = settings_of(ctx)
    models = settings.path(settings.registry.directory)
    with rows_progress(source.name, hidden=as_json) as (on_rows, say):
        done = FileScorer(models, explain).score(source, target, overwrite=force, on_rows=on_rows, say=say)
    with showing():
        if as_json:
            document = {
                "rows": done.rows,
                "predicted_to_churn": done.churners,
                "model_version": done.model_version,
                "output": str(target),
                "explained": explain,
                "resumed_rows": done.resumed_rows,
            }
            click.echo(json.dumps(document))
        else:
            click.echo(
                f"{done.rows} customers scored by {done.model_version}, {done.churners} predicted to churn: {target}"
            )
