"""Command that retrains: retrain."""

import json
from pathlib import Path

import click

from churnops.cli.models import given
from churnops.cli.root import json_option, main, settings_of, showing


@main.command()
@click.option(
    "--batch",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet file of customers with known outcomes, as of now, beside those of the journal.",
)
@click.option("--reason", default="asked for by hand", show_default=True, callback=given, help="Why, for the records.")
@click.option(
    "--experiment",
    metavar="ID_OR_NAME",
    help="MLflow experiment to log to, which must exist. Default: ChurnPrediction-Retraining.",
)
@json_option
@click.pass_context
def retrain(ctx: click.Context, batch: Path | None, reason: str, experiment: str | None, as_json: bool) -> None:
    """Train a challenger now, and deploy it if the gate says that it is better.

    Trains on the raw tables and on the production customers whose outcomes are known by now. The newest of them are
    held out: on these the challenger must beat the model in production, by retraining.min_improvement and beyond doubt.
    Otherwise it is registered as challenger, production stays, and retraining_summary_<time>.json says why.

    `churnops monitor` does the same by itself when its report recommends it. A person need not wait for the cooldown or
    for retraining.min_new_labels.

    \b
    Examples:
      churnops retrain
      churnops retrain --batch last_month.csv --reason "the tariff changed in May"

    Exit code: 0 whatever the gate decides; 2 if it failed or may not begin, and the message says what answers.
    """  # noqa: D301
    from churnops.pipelines.trigger_retraining import trigger_retraining
    from churnops.retraining.pipeline import STEPS
    from churnops.retraining.split import SCHEMES
    from churnops.screens import show_retraining, steps_progress

    settings = settings_of(ctx)
    candidates = len(settings.retraining.families) * len(SCHEMES)
    with steps_progress(STEPS, candidates, hidden=as_json) as (progress, on_family):
        summary, path = trigger_retraining(
            settings, "by hand", (reason,), batch=batch, experiment=experiment, progress=progress, on_family=on_family
        )
    with showing():
        if as_json:
            click.echo(json.dumps(summary.to_json() | {"summary": str(path) if path else None}))
        else:
            show_retraining(summary, path)
    if summary.status == "not permitted":
        ctx.exit(2)
