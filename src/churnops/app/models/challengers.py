"""Layout of two parts of the Models page: the gate's decisions, and retraining runs."""

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
    """Show the gate's decisions, newest first: one in full, all of them as a figure and a table."""
    if not comparisons:
        st.write(
            "No challenger was compared with the deployed model yet. `churnops retrain` trains one and compares both "
            "on customers that neither was trained on. `churnops promote VERSION` compares an existing version."
        )
        return
    labels = [
        one_line(f"{history.clock(c.at)} UTC: {c.verdict}, {c.challenger}", 120) for c in comparisons
    ]  # not escaped: a list of choices reads no markup
    chosen = st.selectbox(
        "Decision",
        range(len(labels)),
        format_func=lambda i: labels[i],
        key="models_decision",
        help="Decisions on whether a new model (the challenger) replaces the deployed model (the champion).",
    )
    _decision(comparisons[chosen or 0])
    _gains(comparisons)
    st.header("Decisions")
    _table(comparisons)


def _gains(comparisons: Sequence[history.Comparison]) -> None:
    """Show a figure of the gains of challengers, if any are known."""
    drawn = comparable(comparisons)
    if drawn:
        st.header("Gains of challengers")
        alt = "Gains of challengers with their bounds; the table below has the same numbers"
        st.plotly_chart(gains(comparisons), theme="streamlit", config=CONFIG, key="models_gains", alt=alt)
        sure = drawn[0].confidence
        st.caption(
            "Point: measured gain. Line: its bounds"
            + (f", each with {100 * sure:g} % confidence. " if sure is not None else ". ")
            + "A challenger is deployed if the point lies right of the red mark (required gain), the whole line lies "
            "right of the dashed line (no gain), and no other metric got much worse."
        )


def _table(comparisons: Sequence[history.Comparison]) -> None:
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
            "Required": [c.min_improvement for c in comparisons],
            "Customers": [c.rows for c in comparisons],
            "Why": [one_line(c.reason, 2000) for c in comparisons],
        },
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.4f") for name in ("Gain", "At least", "At most", "Required")
        }
        | {"Why": st.column_config.TextColumn(width="large")},
    )


def _decision(c: history.Comparison) -> None:
    st.markdown(f"**{plain(c.sentence, 400)}**")
    st.markdown(plain(c.reason, 800))
    st.caption(f"Champion: {plain(c.champion, 100)}. Challenger: {plain(c.challenger, 100)}.")
    columns = st.columns(4)
    columns[0].metric(
        capital(c.metric or "Metric"),
        _digits(c.values[1]),
        border=True,
        help=f"Value of the challenger. The champion has {_digits(c.values[0])} on the same customers. Neither model "
        "was trained on them.",
    )
    columns[1].metric(
        "Gain",
        _digits(c.gain),
        border=True,
        help="Improvement of the challenger over the champion; below 0, the challenger is worse. "
        f"A gain of more than {_digits(c.min_improvement)} was required.",
    )
    sure = "" if c.confidence is None else f" with {100 * c.confidence:g} % confidence"
    columns[2].metric(
        "Gain is at least",
        _digits(c.low),
        border=True,
        help=f"Lower bound of the gain{sure}. If it is above 0, the gain is proven.",
    )
    columns[3].metric(
        "Customers",
        "unknown" if c.rows is None else f"{c.rows:,}",
        border=True,
        help="Customers with a known outcome"
        + ("." if c.churned is None else f"; {c.churned:,} of them churned.")
        + " More customers can prove a smaller gain.",
    )
    if c.guards:
        _guards(c.guards)


def _guards(guards: Sequence[history.GuardShown]) -> None:
    st.dataframe(
        {
            "Must not get much worse": [guard.name for guard in guards],
            "Champion": [guard.champion for guard in guards],
            "Challenger": [guard.challenger for guard in guards],
            "May rise by": [guard.tolerance for guard in guards],
            "Passed": ["yes" if guard.held else "no" for guard in guards],
        },
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.4f") for name in ("Champion", "Challenger", "May rise by")
        },
    )


def _digits(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}" if abs(value) < 1e6 else f"{value:.3g}"


@st.fragment
def show_retrainings(runs: Sequence[SummaryDocument], damaged: Sequence[summaries.Damaged], links: MlflowLinks) -> None:
    """Show retraining runs, newest first: all of them as a table, one in full."""
    warning = summaries.damaged_sentence(damaged)
    if warning:
        st.warning(plain(warning, 600))
    if not runs:
        st.write(
            "No retraining run yet. `churnops monitor` starts one when its report recommends it; "
            "`churnops retrain` starts one at once."
        )
        return
    st.dataframe(
        {
            "Started (UTC)": [history.clock(r.started) for r in runs],
            "Outcome": [r.status for r in runs],
            "Version": ["" if r.version is None else str(r.version) for r in runs],
            "MLflow": [links.run(r.run_id) or "" for r in runs],
            "Why": [one_line(r.reason, 2000) for r in runs],
            "Requested by": [one_line(CAUSE_LABELS.get(r.cause, r.cause), 40) for r in runs],
            "Challenger": [one_line(r.challenger or "none", 80) for r in runs],
            "Took": ["" if r.total_seconds is None else f"{r.total_seconds:,.0f} s" for r in runs],
        },
        hide_index=True,
        column_config={
            "MLflow": st.column_config.LinkColumn(display_text="open"),
            "Why": st.column_config.TextColumn(width="large"),
        },
    )
    about_links(links)
    labels = [one_line(f"{history.clock(r.started)} UTC: {r.status}", 120) for r in runs]
    chosen = st.selectbox("Retraining", range(len(runs)), format_func=lambda i: labels[i], key="models_retraining")
    _retraining(runs[chosen or 0])


def _retraining(r: SummaryDocument) -> None:
    st.markdown(f"**{plain(capital(STATUS_LABELS[r.status]))}.** {plain(r.reason, 800)}")
    lines = [f"Requested by: {CAUSE_LABELS.get(r.cause, r.cause or 'unknown')}", *r.because]
    lines += [f"{'Permitted' if r.permission.value else 'Not permitted'}: {reason}" for reason in r.permission.reasons]
    lines += [f"Check through the API: {r.check.reason}"] if r.check and r.check.reason else []
    lines += [f"Still to do: {r.warning}"] if r.warning else []
    lines += [f"Broken rule in a table: {failure}" for failure in r.failures]
    rows = [f"{name.replace('_', ' ')} {n:,}" for name, n in (r.rows or {}).items() if n is not None]
    lines += ["Rows: " + ", ".join(rows)] if rows else []
    st.markdown("\n".join(f"- {plain(line, 600)}" for line in lines))
    if r.candidates:
        st.dataframe(
            {
                "Candidate": [one_line(name, 120) for name in r.candidates],
                "Chosen": ["chosen" if name == r.winner else "" for name in r.candidates],
                "Log loss, newer customers": [c.validation.get("log_loss") for c in r.candidates.values()],
                "ROC-AUC, newer customers": [c.validation.get("roc_auc") for c in r.candidates.values()],
                "ROC-AUC, held-out customers": [c.held_out_roc_auc for c in r.candidates.values()],
            },
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format="%.4f")
                for name in ("Log loss, newer customers", "ROC-AUC, newer customers", "ROC-AUC, held-out customers")
            },
        )
        st.caption(
            "Candidates that were trained. The one with the lowest log loss on newer customers is the challenger. The "
            "held-out customers are even newer and are used only to judge the challenger."
        )


def about_links(links: MlflowLinks) -> None:
    """Show the address of the links, or the reason why there are none."""
    st.caption(
        links.problem
        or f"Links open MLflow at {plain(links.address)}. If MLflow does not answer, type `mlflow ui` in the "
        "project's folder."
    )
