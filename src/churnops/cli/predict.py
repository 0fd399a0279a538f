"""The command predict: score a file, a folder or a query."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churnops.cli.root import json_option, local_table, main, missing_option, settings_of, show_done, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from churnops.experiments.split import RunningSplit
    from churnops.model import Bundle
    from churnops.project import Project
    from churnops.scoring.file import FileScorer, ScoredFile
    from churnops.settings import Settings


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
    top_shap_features; with a decision policy also decision_version (see `churnops decision`). If IN has columns of
    these names, for example from an earlier scoring, they are not read, and a message names them. OUT is written whole
    or not at all. To continue an interrupted run, repeat the command.

    IN may be a folder of Parquet or CSV files, also partitioned (year=2026/month=11/part.parquet): the values of the
    partitions become columns. OUT is then a folder with a part for each piece of IN, manifest.json and _SUCCESS. The
    parts are scored in this process, or on the Dask cluster of the setting cluster.address.

    IN may be a query on PostgreSQL in a .sql file, as for data.raw: its rows are streamed, with all columns. An
    interrupted run starts again, because the query may return other rows.

    IN and OUT may be in an object store: s3://bucket/customers.parquet, az://container/folder, gs://bucket/folder.
    Workers of a cluster read and write such folders themselves, with the credentials of their environment.

    While a split runs (`churnops split`), the challenger scores the customers of its arm. OUT then also has the column
    experiment_arm, and model_version names the model that scored each row.

    A level that a category does not have is scored as other. A file of at least 100 customers is refused if more than
    5 % of them have such a level in one category. An empty cell in a column that had none in training is replaced, and
    counted; a file is refused if more than 5 % of the customers, and more than five, lack such a value.
    """
    from churnops.progress import rows_progress
    from churnops.project import Project
    from churnops.scoring.file import FileScorer
    from churnops.traces import command

    settings = settings_of(ctx)
    project = Project(settings)
    project.place.refresh()
    split = _running_split(project)
    with (
        command("churnops predict", settings.traces),
        rows_progress(Path(source).name, hidden=as_json) as (on_rows, on_message),
    ):
        if split is not None and split.message:
            on_message(split.message)
        scorer = FileScorer(
            project.models,
            explain,
            settings.safe_csv,
            accept_unknown=accept_unknown,
            accept_missing=accept_missing,
            decided=project.decided,
            arms=split.arms if split else None,
            on_written=_recording(project, split, Path(target).suffix.lower()) if split else None,
        )
        done = _score(settings, scorer, source, target, overwrite=force, on_rows=on_rows, on_message=on_message)
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
        **({"experiment": split.experiment.id} if split else {}),
    }
    if done.decision_version:
        document["decision_version"] = done.decision_version
    scored = f"Scored {done.rows:,} customers with {done.model_version}: {done.churners:,} are predicted to churn."
    show_done(as_json, lambda: document, lambda: click.echo(f"{scored} Results: {target}"))


def _score(
    settings: "Settings", scorer: "FileScorer", source: str, target: str, *, overwrite: bool, **callbacks: Any
) -> "ScoredFile":
    """Score a folder where it is, and a file in an object store by copies on this machine."""
    from churnops.address import is_object_address
    from churnops.data.read import ENDINGS
    from churnops.data.stored import result
    from churnops.scoring.folder import FolderScorer

    stored = is_object_address(source)
    if Path(source).suffix.lower() not in ENDINGS if stored else Path(source).is_dir():
        folder, written = source if stored else Path(source), target if is_object_address(target) else Path(target)
        by_parts = FolderScorer(scorer, settings.cluster.address)
        return by_parts.score(folder, written, overwrite=overwrite, **callbacks)
    table = local_table(settings, source)
    with result(settings, target, [source], overwrite=overwrite) as (path, may_replace):
        return scorer.score(table, path, overwrite=may_replace, **callbacks)


def _recording(project: "Project", split: "RunningSplit", ending: str) -> "Callable[[Path, Bundle], None]":
    """Return a function that records the arms of a result's customers, and sends an alert if an arm loses customers."""

    def record(result: Path, bundle: "Bundle") -> None:
        from churnops.experiments.ratio_alert import alert_mismatch
        from churnops.experiments.scored_files import record_exposures

        record_exposures(project, split.experiment, result, bundle.schema, ending)
        alert_mismatch(project, split.experiment)

    return record


def _running_split(project: "Project") -> "RunningSplit | None":
    """Return the running split; None if there is none, or the project has no journal."""
    settings = project.settings
    url = settings.database_url(settings.journal.url)
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        return None
    from churnops.errors import JournalError
    from churnops.experiments.split import running_split

    try:
        return running_split(project, project.require_deployed())
    except JournalError as error:
        warn(f"the deployed model scores all customers, because the journal does not say whether a split runs: {error}")
        return None
