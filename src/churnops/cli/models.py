"""Commands that make models and use them: run, models, predict."""

import json
from contextlib import closing
from pathlib import Path

import click

from churnops.cli import json_option, main, settings_of


@main.command()
@click.option("--deploy", is_flag=True, help="Replace the model in production with the new winner.")
@json_option
@click.pass_context
def run(ctx: click.Context, deploy: bool, as_json: bool) -> None:
    """Run the seven steps: raw tables to a deployed model.

    The first winner is deployed. Later winners are registered as challenger, and production stays, unless --deploy
    is given. The same data and settings give the same model: then nothing moves.
    """
    from churnops.pipelines.run_all import STEPS, run_all
    from churnops.screens import show_run, steps_progress

    settings = settings_of(ctx)
    with steps_progress(STEPS, len(settings.training.families), hidden=as_json) as (progress, on_family):
        summary = run_all(settings, deploy=deploy, progress=progress, on_family=on_family)
    if as_json:
        click.echo(json.dumps(summary.to_json()))
    else:
        show_run(summary, settings)


@main.command()
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List registered versions and which one answers."""
    from churnops.registry import Registry
    from churnops.screens import show_models
    from churnops.tracking import Tracker

    with closing(Registry(Tracker(settings_of(ctx)))) as registry:
        versions, history = registry.versions(), registry.deployed.log.history()
        answers = registry.deployed.current()
    if as_json:
        document = {
            "production": answers,
            "versions": [vars(version) for version in versions],
            "deployments": [vars(deployment) for deployment in history],
        }
        click.echo(json.dumps(document, default=str))
    else:
        show_models(registry.name, versions, history, answers)


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
    from churnops.pipelines.predict import predict_file
    from churnops.screens import rows_progress

    settings = settings_of(ctx)
    models = settings.path(settings.registry.directory)
    with rows_progress(source.name, hidden=as_json) as (on_rows, say):
        done = predict_file(source, target, models, explain=explain, overwrite=force, on_rows=on_rows, say=say)
    if as_json:
        document = {
            "rows": done.rows, "predicted_to_churn": done.churners, "model_version": done.model_version,
            "output": str(target), "explained": explain, "resumed_rows": done.resumed_rows,
        }  # fmt: skip
        click.echo(json.dumps(document))
    else:
        click.echo(
            f"{done.rows} customers scored by {done.model_version}, {done.churners} predicted to churn: {target}"
        )
