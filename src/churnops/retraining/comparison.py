"""Compare a challenger with the deployed model on customers that neither was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.identity import Identities
from churnops.data.read import encode, outcomes
from churnops.data.stored import fetch_tables
from churnops.data.validate import validate_data
from churnops.errors import DataError
from churnops.experiments.budget import gate_options
from churnops.journal.simulated import refuse_simulated
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry.trained_on import load_trained_on
from churnops.retraining.gate import Decision, decide
from churnops.retraining.rows import ProductionRows, rows_from_journal
from churnops.retraining.shadowed import decision_of_shadow
from churnops.retraining.split import Mask, Table, one_row_each
from churnops.schema import Schema
from churnops.settings import Settings

RETRAINED_FROM = "champion"
"""Key in the lineage of a retrained model: the content hash of the model that it was compared with."""


def compare_with_production(project: Project, challenger: Bundle, champion: Bundle) -> Decision:
    """Compare the models on labelled production customers that neither was trained on, and decide.

    If a shadow of the challenger against this champion has a verdict, it is the decision. Otherwise the customers come
    from the journal, because these are the newest. If they are fewer than `min_new_labels`, the customers of
    `data.production` are used, if it is set and the champion is no retrained model: a retrained model has learned from
    newer customers, and older ones are no evidence against it. Without customers the verdict is "cannot tell". If only
    the thresholds differ, the verdict is "keep", because the gate compares scores.
    """
    if (shadowed := decision_of_shadow(project, challenger, champion)) is not None:
        return shadowed
    settings = settings_of_gate(project, champion)
    try:
        decision = judge(new_production_rows(project, challenger, champion), challenger, champion, settings)
    except DataError as error:
        decision = cannot_tell(str(error).partition("\n")[0], project.settings)
    if replace(challenger, threshold=champion.threshold).content_sha256 != champion.content_sha256:
        return decision
    reason = (
        f"only the threshold differs, {challenger.threshold:.4g} instead of {champion.threshold:.4g}: both models give "
        "the same scores, and the gate compares scores. `churnops run --deploy` deploys the threshold"
    )
    return replace(decision, verdict="keep", reason=reason, labels_needed=None)


def settings_of_gate(project: Project, champion: Bundle) -> Settings:
    """Return the settings with the gate's part of the error budget that it shares with the champion's shadows."""
    options = gate_options(project, champion.content_sha256)
    return project.settings.model_copy(update={"retraining": options})


def compare_on_customers(project: Project, customers: pl.DataFrame, challenger: Bundle, champion: Bundle) -> Decision:
    """Compare the models on the rows of a checked table that have an outcome and are new to both models, and decide.

    If the training rows of a model are not known, or its Schema differs from that of the settings, the verdict is
    "cannot tell".
    """
    try:
        return judge(new_rows(project, customers, challenger, champion), challenger, champion, project.settings)
    except DataError as error:
        return cannot_tell(str(error).partition("\n")[0], project.settings)


def new_rows(project: Project, customers: pl.DataFrame, *models: Bundle) -> Table:
    """Return the rows of a checked table that have an outcome and are new to the models, one for each customer.

    Raises
    ------
    DataError
        If the training rows of a model are not known.
    """
    known = _trained_on(project, *models)
    table = labelled_tables({"customers": customers}, project.settings.table)
    return table.rows(_new_customers(table, known, project.settings))


def _trained_on(project: Project, *bundles: Bundle) -> list[Identities]:
    """Return the training customers of each model; raise `DataError` if those of one are not known."""
    known = []
    for bundle in bundles:
        project.place.fetch_customers(bundle.content_sha256)
        identities = load_trained_on(project.models, bundle.content_sha256)
        if identities is None:
            raise DataError(f"the training rows of {bundle.version_name} are not known")
        known.append(identities)
    return known


def _new_customers(table: Table, known: Sequence[Identities], settings: Settings) -> Mask:
    """Choose one row of each customer that none of the models was trained on."""
    return unseen(table, known) & one_row_each(table, [column.name for column in settings.table.model_inputs])


def new_production_rows(project: Project, challenger: Bundle, champion: Bundle) -> Table:
    """Return the labelled production customers that are new to both models; see `compare_with_production`.

    Raises
    ------
    DataError
        If the training rows of a model are not known, customers of the journal cannot be used, or a table is broken.
    """
    settings, known = project.settings, _trained_on(project, champion, challenger)
    rows = production_rows(project)
    table = labelled(rows.table, settings.table, rows.at, rows.customers)
    chosen = unseen(table, known) if table.outcome.size else np.zeros(0, np.bool_)
    if chosen.sum() < settings.retraining.min_new_labels and RETRAINED_FROM not in champion.lineage:
        fetch_tables(settings)
        raw, paths = (list(map(settings.path, given)) for given in (settings.training_tables, settings.data.production))
        refuse_simulated(paths, project.simulated, settings)
        later = validate_data(
            raw,
            paths,
            settings.table,
            max_broken_rows=settings.data.max_broken_rows,
            by_time=settings.evaluation.in_time,
        ).production
        if later:
            table = labelled_tables(later, settings.table)
            chosen = _new_customers(table, known, settings)
    if not chosen.any() and (reason := personal_inputs(settings.table)):
        raise DataError(reason)
    return table.rows(chosen)


def personal_inputs(schema: Schema) -> str:
    """Return the reason why customers of the journal are not used: models have personal inputs; empty if they do not.

    A customer without these inputs would get another score than in production.
    """
    names = ", ".join(column.full_name for column in schema.model_inputs if column.personal)
    return names and f"customers of the journal cannot be used: it does not keep the personal model inputs {names}"


def judge(table: Table, challenger: Bundle, champion: Bundle, settings: Settings) -> Decision:
    """Score the rows with both models and decide.

    Raises
    ------
    DataError
        If a model's Schema differs from the settings' Schema, by which the rows are encoded.
    """
    if not table.outcome.size:
        return cannot_tell("no customer with a known outcome is new to both models", settings)
    for bundle in (challenger, champion):
        check_same_inputs(bundle, settings.table)
    before, after = (bundle.predict(table.columns).probability for bundle in (champion, challenger))
    return decide(table.outcome, before, after, settings.retraining, seed=settings.random_state)


def check_same_inputs(bundle: Bundle, schema: Schema) -> None:
    """Refuse a bundle with an input whose kind or choices differ from those in `schema`.

    Raises
    ------
    DataError
        If there is such an input; the message names the first.
    """
    for column in bundle.schema.model_inputs:
        other = schema.by_name.get(column.name)
        if other is None or (other.kind, other.choices) != (column.kind, column.choices):
            raise DataError(
                f"{bundle.version_name} cannot be compared: its column {column.name} differs from the schema in the "
                "settings. Deploy a model with these settings: `churnops run --deploy`"
            )


def unseen(table: Table, known: Sequence[Identities | None]) -> Mask:
    """Choose the rows of customers that none of the models was trained on."""
    held = np.zeros(table.outcome.shape, dtype=np.bool_)
    for identities in known:
        if identities is not None:
            held |= table.held_by(identities)
    return ~held


def production_rows(project: Project) -> ProductionRows:
    """Read the journal's customers with known outcomes, of the last `history_days`; none if inputs are personal."""
    settings, now = project.settings, datetime.now(UTC)
    since = now if personal_inputs(settings.table) else now - timedelta(days=settings.retraining.history_days)
    return rows_from_journal(project.journal, settings.table, since=since, known_at=now, horizon=project.label_horizon)


def labelled_tables(tables: Mapping[str, pl.DataFrame], schema: Schema) -> Table:
    """Join validated tables and keep the rows with an outcome; all get the same time of prediction."""
    joined = pl.concat(tables.values(), how="diagonal_relaxed")
    joined = (
        joined.filter(pl.col(schema.target.name).is_not_null()) if schema.target.name in joined.columns else joined[:0]
    )
    return labelled(joined, schema, np.ones(joined.height, np.int64), customers_of(joined, schema))


def labelled(table: pl.DataFrame, schema: Schema, at: NDArray[np.int64], customers: tuple[str | None, ...]) -> Table:
    """Encode a table in which every outcome is known."""
    return Table(encode(table, schema), outcomes(table, schema) == 1.0, at, customers)


def customers_of(table: pl.DataFrame, schema: Schema) -> tuple[str | None, ...]:
    """Return the ids of a table's customers; None for a customer without one."""
    if schema.identifier is None or schema.identifier.name not in table.columns:
        return (None,) * table.height
    return tuple(table.get_column(schema.identifier.name))


def cannot_tell(reason: str, settings: Settings) -> Decision:
    """Return a decision without numbers, for a reason."""
    nothing = np.empty(0)
    decision = decide(nothing, nothing, nothing, settings.retraining, seed=settings.random_state)
    return replace(decision, reason=reason)
