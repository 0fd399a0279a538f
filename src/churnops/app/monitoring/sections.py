"""Parts of the monitoring page: performance, drift, retraining and alerts; `monitoring` puts them in order."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from churnops.app.monitoring.figures import Line, interval_figure, over_time
from churnops.app.monitoring.reports import coverage_sentence, performance_sentence
from churnops.app.monitoring.retrainings import followed, retrainings
from churnops.app.monitoring.series import BEGIN, Span, drift_points, metric_points, trend
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.journal.alerts import UNDER_WAY, LoggedAlert
from churnops.journal.cycles import CycleSeries
from churnops.monitoring.budget import TRIGGER_LABELS
from churnops.monitoring.document import PastWindowPart, ReportDocument
from churnops.monitoring.verdicts import MIN_LABEL_PSI, MIN_SCORE_DISTANCE
from churnops.project import Project
from churnops.words import capital

ALERTS, DECISIONS = 100, 50
LONG = 1000
"""Characters of a reason that are shown."""
_BADGES = {"fired": "red", "not certain yet": "orange", "not fired": "green", "cannot tell": "gray"}


def performance(series: CycleSeries, chosen: Span, report: ReportDocument | None) -> None:
    """Show how predictions came true, in a report and over time."""
    st.subheader("Performance")
    lines: list[Line] = []
    left, right = st.columns([2, 3])
    if report is not None:
        found = report.performance
        lines = [(name, at) for name, at in (("line", found.line), ("promised", found.promised_auc)) if at is not None]
        with left:
            auc = found.known_metrics.get("roc_auc")
            st.markdown(f"{plain(performance_sentence(found), LONG)} {plain(coverage_sentence(found))}")
            if auc is not None and auc.value is not None and auc.low is not None and auc.high is not None:
                figure = interval_figure(auc.value, auc.low, auc.high, lines)
                st.plotly_chart(figure, config=CONFIG, key="auc", alt=one_line(performance_sentence(found)))
            st.caption(
                "Thick: where ROC-AUC lies, with the confidence of the settings. Line: below it, retraining is "
                "recommended. Promised: what held-out customers gave at training time."
            )
            _past(report.performance.history)
    with right:
        measures = {name: capital(label) for name, label in METRIC_LABELS.items()}
        metric = st.selectbox("Measure over time", list(measures), format_func=measures.__getitem__)
        points = metric_points(series.cycles, metric)
        marks = lines if metric == "roc_auc" else []
        figure = over_time(points, y=measures[metric], marked="Below the line", lines=marks, span=_axis(chosen, series))
        said = trend(points, measures[metric])
        st.plotly_chart(figure, config=CONFIG, key="performance", alt=said)
        st.caption(said + _thinned(series))


def _past(history: Sequence[PastWindowPart]) -> None:
    if not history:
        return
    with st.expander("Earlier windows, by the outcomes known at this report"):
        rows = [
            {
                "Predictions made": f"{past.window.since:%Y-%m-%d} to {past.window.until:%Y-%m-%d}",
                "ROC-AUC": past.value,
                "From": past.low,
                "To": past.high,
                "Outcomes known": past.labels.labelled,
                "Due": past.labels.due,
            }
            for past in history
            if past.window.since and past.window.until
        ]
        st.dataframe(rows, hide_index=True, alt="ROC-AUC of earlier windows, with how many outcomes are known")


def drift(project: Project, series: CycleSeries, chosen: Span, report: ReportDocument | None) -> None:
    """Show how customers, scores and outcomes differ from those of training, over time."""
    st.subheader("Drift")
    settings = project.settings.monitoring
    if report is not None:
        st.markdown(plain(capital(report.feature_drift.reason), LONG) + "\\.")
    st.caption(
        "Dashed: where a difference begins to matter. Orange diamonds: reports that count as drifted. Hollow: "
        "reports that nothing follows from."
    )
    floors = settings.correction != "none"
    parts: tuple[tuple[str, Any, list[Line], str], ...] = (
        (
            "Columns that drifted",
            "drift_rate",
            [("limit", settings.drift_rate_threshold)],
            "Share of the columns that drifted. Above the limit, customers count as changed.",
        ),
        (
            capital(TRIGGER_LABELS["prediction_drift"]),
            "prediction_drift",
            [("what matters", MIN_SCORE_DISTANCE)] if floors else [],
            "Largest distance between the distributions of scores now and at training time (0 to 1).",
        ),
        (
            capital(TRIGGER_LABELS["target_drift"]),
            "target_drift",
            [("what matters", MIN_LABEL_PSI)] if floors else [],
            "How far the churn rate is from that of training, as a population stability index (0: the same).",
        ),
    )
    for place, (title, measure, lines, explanation) in zip(st.columns(3), parts, strict=True):
        with place:
            st.markdown(f"**{title}**", help=explanation)
            rate = measure == "drift_rate"
            points = drift_points(series.cycles, measure, limit=settings.drift_rate_threshold)
            figure = over_time(
                points, y="", marked="Drifted", lines=lines, share=rate, span=_axis(chosen, series), legend=False
            )
            said = trend(points, title, share=rate)
            st.plotly_chart(figure, config=CONFIG, key=measure, alt=said)
            st.caption(said + _thinned(series))


def retraining(project: Project, report: ReportDocument) -> None:
    """Show why retraining is recommended or not, and what followed."""
    st.subheader("Should the model be trained again?")
    recommendation = report.recommend_retraining
    triggers = recommendation.triggers
    for place, trigger in zip(st.columns(max(len(triggers), 1)), triggers, strict=False):
        with place.container(border=True, height="stretch"):
            st.markdown(f"**{plain(capital(TRIGGER_LABELS.get(trigger.name, trigger.name)))}**")
            st.badge(trigger.verdict, color=_BADGES[trigger.verdict])  # type: ignore[arg-type]
            st.caption(plain(trigger.why, LONG))
    asked = retrainings(project.decisions.newest(DECISIONS))
    if report.timestamp is not None and not report.report_only:
        automatic = project.settings.retraining.automatic
        st.markdown(plain(followed(asked, report.timestamp, recommendation.value, automatic)))
    st.subheader("Retrainings that were asked for")
    if not asked:
        st.caption("None yet. A report that recommends one asks for it, and so does `churnops retrain`.")
        return
    rows = [
        {
            "When (UTC)": minute(one.at),
            "Asked for by": one.by,
            "Because": one_line(one.because, LONG),
            "Permitted": "yes" if one.permitted else "no",
            "What followed": one_line(one.outcome),
            "Why": one_line(one.reason, LONG),
        }
        for one in asked
    ]
    st.dataframe(rows, hide_index=True, alt="Retrainings that were asked for, and what followed")


def alerts(project: Project) -> None:
    """Show the newest alerts, and whether they arrived."""
    st.subheader("Alerts")
    newest = project.alerts.newest(ALERTS)
    if not newest:
        st.caption(
            "No alert yet. Alerts tell of what this page shows, as it happens, where `CHURNOPS_ALERTS__URLS` says."
        )
        return
    failed = [told for told in newest if any(one.error not in (None, UNDER_WAY) for one in told.tries)]
    if failed:
        st.warning(f"{len(failed)} of the newest {len(newest)} alerts did not reach a channel: see the column Told.")
    wide = {name: st.column_config.TextColumn(width="medium") for name in ("What", "Told")}
    st.dataframe(
        list(map(_row, newest)), hide_index=True, column_config=wide, alt="The newest alerts, and whom they reached"
    )
    st.caption(f"The newest {len(newest)} alerts, whatever time range is chosen.")


def _row(told: LoggedAlert) -> dict[str, Any]:
    notice = told.alert.notice
    states = {None: "arrived", UNDER_WAY: "under way"}
    failed_first = sorted(told.tries, key=lambda one: one.error in states)
    tries = [f"{one.channel}: {states.get(one.error, f'failed, {one.error}')}" for one in failed_first]
    return {
        "When (UTC)": minute(told.alert.at),
        "State": one_line(notice.state),
        "Severity": one_line(notice.severity),
        "What": one_line(notice.title),
        "Told": one_line("; ".join(tries), LONG),
        "Details": one_line(notice.body, LONG),
    }


def _axis(chosen: Span, series: CycleSeries) -> tuple[datetime, datetime] | None:
    """Return the ends of the time axis; None for all there is."""
    return None if chosen.since == BEGIN or not series.cycles else (chosen.since, chosen.until)


def _thinned(series: CycleSeries) -> str:
    if series.every is None:
        return ""
    hours = series.every / timedelta(hours=1)
    every = f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
    return f" There are too many reports to draw: shown is the newest of every {every}."


def minute(at: datetime) -> str:
    """Return a time as tables show it."""
    return f"{at:%Y-%m-%d %H:%M}"
