"""Command that retrains the model: retrain."""

import click

from churnops.cli.models import reason_text
from churnops.cli.root import json_option, local_table, main, settings_of, show_done


@main.command()
@click.option(
    "--batch",
    type=click.Path(path_type=str),
    metavar="FILE",
    help="CSV, Parquet or Excel file with more customers and their outcomes, used in addition to the journal.",
)
@click.option(
    "--reason",
    default="requested by hand",
    show_default=True,
    callback=reason_text,
    help="Reason, kept in the journal and the summary.",
)
@click.option(
    "--experiment",
    metavar="ID_OR_NAME",
    help="MLflow experiment to log to, which must exist. Default: ChurnPrediction-Retraining.",
)
@json_option
@click.pass_context
def retrain(ctx: click.Context, batch: str | None, reason: str, experiment: str | None, as_json: bool) -> None:
    """Train a challenger, and deploy it if the gate proves it better.

    The training rows are the raw tables and the production customers with known outcomes. The newest production
    customers are held out. On them the challenger must be better than the deployed model by more than
    retraining.min_improvement, and the gain must be proven. Otherwise the deployed model stays, and
    retraining_summary_<time>.json contains the reason.

    `churnops monitor` retrains automatically if its report recommends it. This command also
    retrains within the cooldown, and with fewer new labels than retraining.min_new_labels.

    \b
    Examples:
      churnops retrain
      churnops retrain --batch last_month.csv --reason "the tariff changed in May"

    Exit code: 0 for every decision of the gate; 2 if the retraining failed or was not permitted.
    """  # noqa: D301
    from churnops.pipelines.trigger_retraining import trigger_retraining
    from churnops.progress import steps_progress
    from churnops.retraining.pipeline import STEPS
    from churnops.retraining.policy import RetrainingTask
    from churnops.retraining.split import SCHEMES
    from churnops.screens import show_retraining

    settings = settings_of(ctx)
    candidates = len(settings.retraining.families) * len(SCHEMES)
    task = RetrainingTask("by hand", (reason,), local_table(settings, batch) if batch else None)
    with steps_progress(STEPS, candidates, hidden=as_json) as (progress, on_family):
        summary, path = trigger_retraining(
            settings, task, experiment=experiment, progress=progress, on_family=on_family
        )
    written = {"summary": str(path) if path else None}
    show_done(as_json, lambda: summary.to_json() | written, lambda: show_retraining(summary, path))
    if summary.status == "not permitted":
        ctx.exit(2)
