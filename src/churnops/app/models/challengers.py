"""The Models page's part on challengers: what the gate decided, and what retraining came to. It only places them."""

from collections.abc import Sequence

import streamlit as st

from churnops.app.models import history, summaries
from churnops.app.models.figures import comparable, gains
from churnops.app.models.links import MlflowLinks
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG
from churnops.retraining.document import SummaryDocument
from churnops.retraining.outcome import STATUS_LABELS
from churnops.retraining.policy import CAUSE_LABELS
from churnops.words import capital


@st.fragment
def show_comparisons(comparisons: Sequence[history.Comparison]) -> None:
    """Show what the gate decided, newest first: one decision in full, all of them as a figure and a table."""
    if not comparisons:
        st.write(
            "No challenger was compared with the model in production yet. `churnops retrain` trains one and compares "
            "both on customers whom neither knows; `churnops promote VERSION` compares a version that is there."
        )
        return
    labels = [
        one_line(f"{history.clock(c.at)} UTC: {c.verdict}, {c.challenger}", 120) for c in comparisons
    ]  # options are shown as they are
    chosen = st.selectbox(
        "Decision",
        range(len(labels)),
        format_func=lambda i: labels[i],
        key="models_decision",
        help="Decisions on whether a new model, the challenger, replaces the one in production, the champion.",
    )
    _decision(comparisons[chosen or 0])
    told = comparable(comparisons)
    if told:
        st.subheader("Gains of challengers")
        alt = "Gains of challengers and their bounds: the table below has the same as text"
        st.plotly_chart(gains(comparisons), theme="streamlit", config=CONFIG, key="models_gains", alt=alt)
        sure = told[0].confidence
        bounds = (
            "The point is the gain that was measured, the line its bounds"
            + (f", each with {100 * sure:g} % confidence. " if sure is not None else ". ")
            + "A challenger is deployed if the point is right of its mark, the gain asked for, and the whole line is "
            "right of the dashed one, no gain; and if nothing else got much worse."
        )
        st.caption(bounds)
    st.subheader("Decisions")
    st.dataframe(
        {
            "When (UTC)": [history.clock(c.at) for c in comparisons],
            "Verdict": [one_line(c.verdict, 40) for c in comparisons],
            "Challenger": [one_line(c.challenger, 80) for c in comparisons],
            "Champion": [one_line(c.champion, 80) for c in comparisons],
            "Metric": [c.metric for c in comparisons],
            "Gain": [c.gain for c in comparisons],
            "At least": [c.low for c in comparisons],
            "At most": [c.high for c in comparisons],
            "Asked for": [c.min_improvement for c in comparisons],
            "Customers": [c.rows for c in comparisons],
            "Why": [one_line(c.reason, 2000) for c in comparisons],
        },
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.4f") for name in ("Gain", "At least", "At most", "Asked for")
        }
        | {"Why": st.column_config.TextColumn(width="large")},
    )


def _decision(c: history.Comparison) -> None:
    st.markdown(f"**{plain(c.sentence, 400)}**")
    st.markdown(plain(c.reason, 800))
    st.caption(f"Champion: {plain(c.champion, 100)}. Challenger: {plain(c.challenger, 100)}.")
    columns = st.columns(4)
    metric = c.metric or "Metric"
    columns[0].metric(
        capital(metric),
        _digits(c.worth[1]),
        border=True,
        help=f"Of the challenger. The champion has {_digits(c.worth[0])} on the same customers: neither knew them.",
    )
    columns[1].metric(
        "Gain",
        _digits(c.gain),
        border=True,
        help="How much better the challenger is; below 0 it is worse. "
        f"It was asked for more than {_digits(c.min_improvement)}.",
    )
    sure = "" if c.confidence is None else f" with {100 * c.confidence:g} % confidence"
    columns[2].metric(
        "Gain is at least",
        _digits(c.low),
        border=True,
        help=f"The gain is not below this{sure}, whatever the luck of the draw: it must be above 0 to count as proven.",
    )
    columns[3].metric(
        "Customers",
        "unknown" if c.rows is None else f"{c.rows:,}",
        border=True,
        help="Those whose outcome is known"
        + ("." if c.churned is None else f"; {c.churned:,} of them churned.")
        + " The more there are, the smaller the gain that can be proven.",
    )
    if c.guards:
        st.dataframe(
            {
                "What may not get much worse": [guard.name for guard in c.guards],
                "Champion": [guard.champion for guard in c.guards],
                "Challenger": [guard.challenger for guard in c.guards],
                "May rise by": [guard.tolerance for guard in c.guards],
                "Held": ["yes" if guard.held else "no" for guard in c.guards],
            },
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format="%.4f") for name in ("Champion", "Challenger", "May rise by")
            },
        )


def _digits(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}" if abs(value) < 1e6 else f"{value:.3g}"


@st.fragment
def show_retrainings(
    found: Sequence[SummaryDocument], damaged: Sequence[summaries.Damaged], links: MlflowLinks
) -> None:
    """Show what retraining came to, newest first: all of them as a table, one in full."""
    said = summaries.damaged_sentence(damaged)
    if said:
        st.warning(plain(said, 600))
    if not found:
        st.write(
            "Nothing was retrained yet. `churnops monitor` retrains by itself when its report recommends it, "
            "`churnops retrain` at once."
        )
        return
    st.dataframe(
        {
            "Started (UTC)": [history.clock(r.started) for r in found],
            "Outcome": [r.status for r in found],
            "Version": ["" if r.version is None else str(r.version) for r in found],
            "MLflow": [links.run(r.run_id) or "" for r in found],
            "Why": [one_line(r.reason, 2000) for r in found],
            "Asked for by": [one_line(CAUSE_LABELS.get(r.cause, r.cause), 40) for r in found],
            "Challenger": [one_line(r.challenger or "none", 80) for r in found],
            "Took": ["" if r.total_seconds is None else f"{r.total_seconds:,.0f} s" for r in found],
        },
        hide_index=True,
        column_config={
            "MLflow": st.column_config.LinkColumn(display_text="open"),
            "Why": st.column_config.TextColumn(width="large"),
        },
    )
    about_links(links)
    labels = [one_line(f"{history.clock(r.started)} UTC: {r.status}", 120) for r in found]
    chosen = st.selectbox("Retraining", range(len(found)), format_func=lambda i: labels[i], key="models_retraining")
    _retraining(found[chosen or 0])


def _retraining(r: SummaryDocument) -> None:
    st.markdown(f"**{plain(capital(STATUS_LABELS[r.status]))}.** {plain(r.reason, 800)}")
    lines = [f"Asked for by: {CAUSE_LABELS.get(r.cause, r.cause or 'unknown')}", *r.because]
    lines += [f"{'Permitted' if r.permission.value else 'Not permitted'}: {reason}" for reason in r.permission.reasons]
    lines += [f"Check through the API: {r.check.reason}"] if r.check and r.check.reason else []
    lines += [f"Still to be done: {r.warning}"] if r.warning else []
    lines += [f"Broken rule of a table: {failure}" for failure in r.failures]
    rows = [f"{name.replace('_', ' ')} {n:,}" for name, n in (r.rows or {}).items() if n is not None]
    lines += ["Rows: " + ", ".join(rows)] if rows else []
    st.markdown("\n".join(f"- {plain(line, 600)}" for line in lines))
    if r.candidates:
        st.dataframe(
            {
                "Candidate": [one_line(name, 120) for name in r.candidates],
                "Chosen": ["chosen" if name == r.winner else "" for name in r.candidates],
                "Log loss, chosen by": [c.validation.get("log_loss") for c in r.candidates.values()],
                "ROC-AUC, same customers": [c.validation.get("roc_auc") for c in r.candidates.values()],
                "ROC-AUC, held-out customers": [c.held_out_roc_auc for c in r.candidates.values()],
            },
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format="%.4f")
                for name in ("Log loss, chosen by", "ROC-AUC, same customers", "ROC-AUC, held-out customers")
            },
        )
        st.caption(
            "Ways of training that were tried. The one with the lowest log loss on newer customers is the challenger; "
            "the held-out customers, newer still, only judge it."
        )


def about_links(links: MlflowLinks) -> None:
    """Say where links lead, or why there are none."""
    st.caption(
        links.problem
        or f"Links lead to MLflow at {plain(links.address)}. If nobody answers, type `mlflow ui` in its folder."
    )
