"""Analysis page: customers who left, reasons, and the value of an offer."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import streamlit as st

from churnops.app.analysis import associations, campaign, explore, figures
from churnops.app.analysis.source import (
    HEATMAP,
    Source,
    choose,
    production_sample,
    reference_source,
    source_of,
)
from churnops.app.shared.project import NO_MODEL, production
from churnops.app.shared.show import note, place, say
from churnops.app.shared.text import number, points
from churnops.decision.sample import MIN_CUSTOMERS, NEWEST, may_have_outcomes
from churnops.evaluation.metrics import point_metrics
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry.reference import reference_path
from churnops.words import heading, percent

REFERENCE, PRODUCTION = "Reference customers of the model", "Production customers with known outcomes"
BY_OUTCOME = "The columns with the largest differences between customers who left and who stayed come first."


def page(project: Project) -> None:
    """Show the page."""
    st.title("Analysis")
    bundle = production(project)
    if bundle is None:
        st.info(NO_MODEL)
        return
    source = _chosen(project, bundle)
    if source is None:
        return
    sections: dict[str, Callable[[Source], None]] = {
        "Segments": _segments,
        "Distributions": _distributions,
        "Correlations": _correlations,
        "Drivers": _drivers,
        "Calibration": _calibration,
        "Reach": campaign.reach,
        "Offer": partial(campaign.offer, project=project),
    }
    tabs = st.tabs(list(sections), key="section", on_change="rerun", bind="query-params")
    for tab, section in zip(tabs, sections.values(), strict=True):
        if tab.open:  # closed tabs are not computed
            with tab:
                section(source)


def _chosen(project: Project, bundle: Bundle) -> Source | None:
    """Let the user choose a set of customers and show its size; None if there are no customers to show."""
    path = reference_path(project.models, bundle.content_sha256)
    horizon = project.label_horizon
    has_reference, may_have = path.is_file(), may_have_outcomes(project.journal, datetime.now(UTC), horizon)
    chosen = REFERENCE if has_reference else PRODUCTION
    if has_reference and may_have:
        chosen = st.radio(
            "Customers",
            (REFERENCE, PRODUCTION),
            horizontal=True,
            key="customers",
            persist_state="session",
            help="Reference: a sample of the training data, each scored by a model not trained on that customer. "
            f"Production: the newest {NEWEST:,} customers with a prediction and a known outcome.",
        )
    if not has_reference:
        st.info(
            "This model has no sample of reference customers: an older version of churnops deployed it. Type "
            "`churnops run` with the same data to add the sample, or `churnops run --deploy` to replace the model."
        )
        if not may_have:
            return None
    if chosen == REFERENCE:
        source = reference_source(project, bundle, path)
        _introduce(source, "from the training data, each scored by a model not trained on that customer")
        return source
    key, sample = production_sample(project, bundle)
    if not sample.enough:
        st.info(
            f"Too few outcomes are known for an analysis: {sample.rows:,} customers, {sample.leavers:,} of whom left. "
            f"At least {MIN_CUSTOMERS} customers are needed, some who left and some who stayed, each with a known "
            f"outcome and a prediction of this model that is at least {horizon.days} days old. Send outcomes with "
            "`POST /labels`."
        )
        return None
    source = source_of(project, bundle, key, sample)
    _introduce(source, "with a prediction of this model and a known outcome")
    note("A customer may have stayed because of an offer. New outcomes appear within a minute.")
    return source


def _introduce(source: Source, description: str) -> None:
    note(
        f"{source.sample.rows:,} customers {description}; {source.sample.leavers:,} of them left "
        f"({percent(source.overall)}). Model {source.bundle.version_name}, threshold {source.bundle.threshold:g}"
        + (f" by decision policy {source.bundle.decision_version}." if source.bundle.decision_version else ".")
    )


@st.fragment
def _segments(source: Source) -> None:
    chosen = choose("Compare customers by", source.inputs, "segment", BY_OUTCOME)
    groups = explore.groups(chosen, source.sample.outcome)
    sentence = explore.stand_out(chosen, groups, source.overall)
    say(sentence)
    place(figures.groups_figure(groups, source.overall), sentence)
    note(
        "Bar: share who left, with its 95 % interval. In brackets: number of customers; fewer customers give a wider "
        "interval. Dashed line: share of all customers who left."
    )
    with st.expander("As a table"):
        st.dataframe(
            {
                "Group": [group.label for group in groups],
                "Customers": [group.customers for group in groups],
                "Left": [group.churned for group in groups],
                "Share who left (%)": [round(group.rate * 100, 1) for group in groups],
                "At least (%)": [round(group.low * 100, 1) for group in groups],
                "At most (%)": [round(group.high * 100, 1) for group in groups],
            },
            hide_index=True,
            alt=sentence,
        )


@st.fragment
def _distributions(source: Source) -> None:
    chosen = choose("Show the distribution of", source.inputs, "distribution", BY_OUTCOME)
    shown = explore.distribution(chosen, source.sample.outcome)
    say(shown.summary)
    place(figures.distribution_figure(shown, heading(chosen.title, chosen.unit)), shown.summary)
    note(
        "Each colour adds up to 100 %, so groups of different sizes can be compared. For a numeric column, the first "
        "and the last range also hold the few customers with smaller or larger values."
    )


@st.fragment
def _correlations(source: Source) -> None:
    table = source.associations
    sentence = associations.summary(table)
    say(sentence)
    place(figures.associations_figure(table), sentence)
    note("Each square is a pair of columns: the one at the left of its row, and the one whose number stands above it.")
    with st.expander("Statistics"):
        note(associations.MEASURES)
    with st.expander("As a table"):
        note("Pairs with a strength of at least 0.1, strongest first.")
        pairs = associations.pairs(table)
        st.dataframe(
            {
                "First column": [one for one, _, _ in pairs],
                "Second column": [other for _, other, _ in pairs],
                "Strength": [round(strength, 2) for _, _, strength in pairs],
            },
            hide_index=True,
            alt=sentence,
        )
    left_out = len(source.inputs) - HEATMAP
    if left_out > 0:
        note(
            f"The {HEATMAP} columns with the largest differences between customers who left and who stayed; {left_out} "
            "more are not shown."
        )


@st.fragment
def _drivers(source: Source) -> None:
    drivers = source.drivers
    if not drivers.inputs:
        st.info("All inputs of the model have the same value for these customers.")
        return
    size = float(drivers.importance[0])
    shown = points(size) if drivers.scale == "probability" else f"{number(size)} log-odds"
    sentence = f"{drivers.inputs[0].title} moves the scores most: by {shown} on average, up or down."
    say(sentence)
    place(figures.importance_figure(drivers), sentence)
    note(
        f"Bar: mean size of a column's contribution to a customer's score, whether up or down ({drivers.scale}). "
        f"SHAP values of {drivers.outcome.size:,} customers."
        + (
            ""
            if drivers.scale == "probability"
            else " 0.7 log-odds more doubles the odds of leaving, 0.7 less halves them."
        )
    )
    st.header("One column in detail")
    chosen = choose(
        "Show contributions by value of", drivers.inputs, "driver", "Columns that move the scores most come first."
    )
    contributions = drivers.contributions[:, [variable.name for variable in drivers.inputs].index(chosen.name)]
    place(
        figures.dependence_figure(chosen, contributions, drivers.scale),
        f"Contribution of {chosen.title} to each customer's score, by its value.",
    )
    note(
        f"Dot: a customer; above 0 the value raises the score, below 0 it lowers the score ({drivers.scale}). Line: "
        "mean. Dots above each other have the same value and differ in other columns."
    )


@st.fragment
def _calibration(source: Source) -> None:
    sample = source.sample
    groups = explore.calibration(sample.outcome, sample.score)
    error = point_metrics(sample.outcome, sample.score)["calibration_error"]
    sentence = explore.calibration_advice(groups, error)
    say(sentence)
    place(figures.calibration_figure(groups), sentence)
    note(
        "Customers in ten groups by predicted probability. A dot on the dashed line: as many customers left as "
        "predicted. A 95 % interval may miss the line by chance. Bars: number of customers in each group."
    )
