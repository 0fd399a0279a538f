"""Analysis: who leaves, why, and what an offer is worth."""

from datetime import UTC, datetime

import streamlit as st

from churnops.app.analysis import associations, campaign, explore, figures
from churnops.app.analysis.source import (
    HEATMAP,
    Source,
    choose,
    note,
    place,
    production_sample,
    reference_source,
    say,
    source_of,
)
from churnops.app.shared.project import production
from churnops.app.shared.sample import FEWEST, NEWEST, may_have_outcomes
from churnops.app.shared.text import number, percent
from churnops.evaluation.metrics import point_metrics
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry.reference import reference_path
from churnops.words import heading

REFERENCE, PRODUCTION = "Reference customers of the model", "Production, where outcomes are known"
BY_OUTCOME = "What goes most with leaving comes first."


def page(project: Project) -> None:
    """Show the page."""
    st.title("Analysis")
    bundle = production(project.models)
    if bundle is None:
        st.info("No model is deployed yet. Run `churnops run` in the project's folder: it trains one and deploys it.")
        return
    source = _chosen(project, bundle)
    if source is None:
        return
    sections = {
        "Segments": _segments,
        "Distributions": _distributions,
        "Correlations": _correlations,
        "Drivers": _drivers,
        "Calibration": _calibration,
        "Reach": campaign.reach,
        "Offer": campaign.offer,
    }
    tabs = st.tabs(list(sections), key="section", on_change="rerun", bind="query-params")
    for tab, section in zip(tabs, sections.values(), strict=True):
        if tab.open:  # the others are not worked out
            with tab:
                section(source)


def _chosen(project: Project, bundle: Bundle) -> Source | None:
    """Let the user choose whose customers to look at, and say how many they are; None: there are none to show."""
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
            help="Reference: a sample of those the model was trained and judged on, each scored by a fit that had not "
            f"seen them. Production: the newest {NEWEST:,} it was asked about whose outcome is known.",
        )
    if not has_reference:
        st.info(
            "This model has no sample of reference customers: an older version deployed it. Run `churnops run` with "
            "the same data to add it, or `churnops run --deploy` to replace the model."
        )
        if not may_have:
            return None
    if chosen == REFERENCE:
        source = reference_source(project, bundle, path)
        _introduce(source, "that the model was trained and judged on, scored by fits that had not seen them")
        return source
    key, sample = production_sample(project, bundle)
    if not sample.enough:
        st.info(
            f"Too few outcomes are known to tell anything: {sample.rows:,} customers, of whom {sample.leavers:,} left. "
            f"At least {FEWEST} are needed, some of each outcome, whom this model was asked about {horizon.days} days "
            "ago or earlier. Outcomes are reported with `POST /labels`."
        )
        return None
    source = source_of(project, bundle, key, sample)
    _introduce(source, "that this model was asked about and whose outcome is known")
    note("Customers who got an offer may have stayed because of it. New outcomes show within a minute.")
    return source


def _introduce(source: Source, which: str) -> None:
    note(
        f"{source.sample.rows:,} customers {which}; {source.sample.leavers:,} of them left "
        f"({percent(source.overall)}). Model {source.bundle.version_name}, threshold {source.bundle.threshold:g}."
    )


@st.fragment
def _segments(source: Source) -> None:
    chosen = choose("Compare customers by", source.inputs, "segment", BY_OUTCOME)
    found = explore.groups(chosen, source.sample.outcome)
    sentence = explore.stand_out(chosen, found, source.overall)
    say(sentence)
    place(figures.groups_figure(found, source.overall), sentence)
    note(
        "Bars: the share who left, with its 95 % interval; behind each name: how many customers. A wide interval means "
        "few customers. The dashed line is the share of all."
    )
    with st.expander("As a table"):
        st.dataframe(
            {
                "Group": [group.label for group in found],
                "Customers": [group.customers for group in found],
                "Left": [group.churned for group in found],
                "Share who left (%)": [round(group.rate * 100, 1) for group in found],
                "At least (%)": [round(group.low * 100, 1) for group in found],
                "At most (%)": [round(group.high * 100, 1) for group in found],
            },
            hide_index=True,
            alt=sentence,
        )


@st.fragment
def _distributions(source: Source) -> None:
    chosen = choose("Show the spread of", source.inputs, "distribution", BY_OUTCOME)
    found = explore.distribution(chosen, source.sample.outcome)
    say(found.summary)
    place(figures.distribution_figure(found, heading(chosen.title, chosen.unit)), found.summary)
    note(
        "Each colour adds up to 100 %, so the two groups compare whatever their sizes. The outermost parts of a number "
        "also hold the few customers beyond them."
    )


@st.fragment
def _correlations(source: Source) -> None:
    found = source.associations
    sentence = associations.told(found)
    say(sentence)
    place(figures.associations_figure(found), sentence)
    note("The columns below each other are numbered; the numbers above stand for the same columns.")
    note(associations.MEASURES)
    with st.expander("As a table"):
        note("Pairs of 0.1 and more, the closest first.")
        pairs = associations.pairs(found)
        st.dataframe(
            {
                "One": [one for one, _, _ in pairs],
                "Other": [other for _, other, _ in pairs],
                "Strength": [round(strength, 2) for _, _, strength in pairs],
            },
            hide_index=True,
            alt=sentence,
        )
    left_out = len(source.inputs) - HEATMAP
    if left_out > 0:
        note(f"The {HEATMAP} columns that go most with leaving are shown; {left_out} are not.")


@st.fragment
def _drivers(source: Source) -> None:
    found = source.drivers
    if not found.inputs:
        st.info("Nothing that the model reads differs between these customers.")
        return
    size = float(found.importance[0])
    shown = f"{size * 100:.1f} percentage points" if found.scale == "probability" else f"{number(size)} log-odds"
    sentence = f"{found.inputs[0].title} moves the scores most: by {shown} on average, up or down."
    say(sentence)
    place(figures.importance_figure(found), sentence)
    note(
        f"SHAP values of {found.outcome.size:,} customers: how far a column moves a customer's score from the model's "
        f"average, as {found.scale}. Bars show the mean size, whether it raises or lowers the score."
        + (
            ""
            if found.scale == "probability"
            else " 0.7 more log-odds double the odds of leaving, 0.7 fewer halve them."
        )
    )
    st.subheader("One column in detail")
    chosen = choose(
        "Show what it adds for each value of", found.inputs, "driver", "What moves the scores most comes first."
    )
    contributions = found.contributions[:, [variable.name for variable in found.inputs].index(chosen.name)]
    place(
        figures.dependence_figure(chosen, contributions, found.scale),
        f"What {chosen.title} adds to the score of each customer, by its value.",
    )
    note(
        f"A dot is a customer: above 0 the value raises the score, below it lowers it ({found.scale}). The line is the "
        "mean. Dots above each other have the same value and differ in other columns."
    )


@st.fragment
def _calibration(source: Source) -> None:
    sample = source.sample
    found = explore.calibration(sample.outcome, sample.score)
    error = point_metrics(sample.outcome, sample.score)["calibration_error"]
    sentence = explore.calibration_advice(found, error)
    say(sentence)
    place(figures.calibration_figure(found), sentence)
    note(
        "Customers in ten groups by predicted probability. A dot on the dashed line means that as many left as was "
        "predicted; one of ten intervals (95 %) misses the line now and then by chance. The bars below show how many "
        "customers each dot rests on."
    )
