"""Sections of the Monitoring page: performance, drift, retraining and alerts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from churnops.app.monitoring.figures import Line, interval_figure, over_time
from churnops.app.monitoring.reports import coverage_sentence, performance_sentence
from churnops.app.monitoring.retrainings import followed, retrainings
from churnops.app.monitoring.series import BEGIN, Measure, Span, drift_points, metric_points, trend
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.journal.alerts import UNDER_WAY, LoggedAlert
from churnops.journal.cycles import CycleSeries
from churnops.monitoring.budget import TRIGGER_LABELS
from churnops.monitoring.document import PastWindowPart, RecommendationPart, ReportDocument
from churnops.monitoring.verdicts import MIN_LABEL_PSI, MIN_SCORE_DISTANCE
from churnops.project import Project
from churnops.settings import MonitoringSettings
from churnops.words import capital, percent

ALERTS, DECISIONS = 100, 50
LONG = 1000
"""Largest number of characters of a reason that are shown."""
_BADGES = {"fired": "red", "not certain yet": "orange", "not fired": "green", "cannot tell": "gray"}


def performance(series: CycleSeries, chosen: Span, report: ReportDocument | None) -> None:
    """Show the performance in a report and over time."""
    st.header("Performance")
    lines: list[Line] = []
    left, right = st.columns([2, 3])
    if report is not None:
        measured = report.performance
        levels = (("limit", measured.line), ("expected", measured.promised_auc))
        lines = [(name, level) for name, level in levels if level is not None]
        with left:
            auc = measured.known_metrics.get("roc_auc")
            st.markdown(f"{plain(performance_sentence(measured), LONG)} {plain(coverage_sentence(measured))}")
            if auc is not None and auc.value is not None and auc.low is not None and auc.high is not None:
                figure = interval_figure(auc.value, auc.low, auc.high, lines)
                st.plotly_chart(figure, config=CONFIG, key="auc", alt=one_line(performance_sentence(measured)))
            st.caption(
                "Blue bar: interval of ROC-AUC. Limit: if ROC-AUC is certainly below it, retraining is recommended. "
                "Expected: ROC-AUC in the evaluation of the training."
            )
            _past(report.performance.history)
    with right:
        measures = {name: capital(label) for name, label in METRIC_LABELS.items()}
        metric = st.selectbox("Measure over time", list(measures), format_func=measures.__getitem__)
        points = metric_points(series.cycles, metric)
        marks = lines if metric == "roc_auc" else []
        figure = over_time(
            points, y=measures[metric], marked="Below the limit", lines=marks, span=_axis(chosen, series)
        )
        sentence = trend(points, measures[metric])
        st.plotly_chart(figure, config=CONFIG, key="performance", alt=sentence)
        st.caption(sentence + _thinned(series))


def _past(history: Sequence[PastWindowPart]) -> None:
    if not history:
        return
    with st.expander("Earlier windows, with the outcomes known in this report"):
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
        st.dataframe(rows, hide_index=True, alt="ROC-AUC of earlier windows, with numbers of known outcomes")


def drift(project: Project, series: CycleSeries, chosen: Span, report: ReportDocument | None) -> None:
    """Show over time how columns, scores and outcomes differ from training."""
    st.header("Drift")
    settings = project.settings.monitoring
    if report is not None:
        st.markdown(plain(capital(report.feature_drift.reason), LONG) + "\\.")
    st.caption(
        "Dashed line: limit; a smaller value is no drift. Orange diamond: a report with drift. Hollow circle: a report "
        "on simulated or past customers, or on a file without a source."
    )
    for place, (title, measure, lines, explanation) in zip(st.columns(3), _measures(settings), strict=True):
        with place:
            st.markdown(f"**{title}**", help=explanation)
            rate = measure == "drift_rate"
            points = drift_points(series.cycles, measure, limit=settings.drift_rate_threshold)
            figure = over_time(
                points, y="", marked="Drifted", lines=lines, share=rate, span=_axis(chosen, series), legend=False
            )
            sentence = trend(points, title, share=rate)
            st.plotly_chart(figure, config=CONFIG, key=measure, alt=sentence)
            st.caption(sentence + _thinned(series))


def _measures(settings: MonitoringSettings) -> tuple[tuple[str, Measure, list[Line], str], ...]:
    """Return title, measure, lines and explanation of each figure of drift."""
    floors = settings.correction != "none"
    return (
        (
            "Drifted columns",
            "drift_rate",
            [("limit", settings.drift_rate_threshold)],
            "Share of drifted columns. If it is above the limit, and not by chance, retraining is recommended.",
        ),
        (
            capital(TRIGGER_LABELS["prediction_drift"]),
            "prediction_drift",
            [("smallest that counts", MIN_SCORE_DISTANCE)] if floors else [],
            "Largest distance between the distributions of scores now and in training (0 to 1).",
        ),
        (
            capital(TRIGGER_LABELS["target_drift"]),
            "target_drift",
            [("smallest that counts", MIN_LABEL_PSI)] if floors else [],
            "Distance of the churn rate now from that in training, as population stability index (0: the same rate).",
        ),
    )


def retraining(project: Project, report: ReportDocument) -> None:
    """Show the triggers of retraining, and the requests to retrain."""
    st.header("Should the model be trained again?")
    recommendation = report.recommend_retraining
    triggers = recommendation.triggers
    for place, trigger in zip(st.columns(max(len(triggers), 1)), triggers, strict=False):
        with place.container(border=True, height="stretch"):
            st.markdown(f"**{plain(capital(TRIGGER_LABELS.get(trigger.name, trigger.name)))}**")
            st.badge(trigger.verdict, color=_BADGES[trigger.verdict])  # type: ignore[arg-type]
            st.caption(plain(trigger.why, LONG))
    with st.expander("Statistics"):
        _evidence(recommendation)
    requests = retrainings(project.decisions.newest(DECISIONS))
    if report.timestamp is not None and not report.report_only:
        automatic = project.settings.retraining.automatic
        st.markdown(plain(followed(requests, report.timestamp, recommendation.value, automatic)))
    st.header("Requests to retrain")
    if not requests:
        st.caption("None yet. A report that recommends retraining makes a request; `churnops retrain` makes one too.")
        return
    rows = [
        {
            "When (UTC)": minute(request.at),
            "Requested by": request.by,
            "Because": one_line(request.because, LONG),
            "Permitted": "yes" if request.permitted else "no",
            "Result": one_line(request.outcome),
            "Why": one_line(request.reason, LONG),
        }
        for request in requests
    ]
    st.dataframe(rows, hide_index=True, alt="Requests to retrain, with their results")


def _evidence(recommendation: RecommendationPart) -> None:
    """Show the p-value of each trigger and the highest p-value at which it fires."""
    rows = [
        {
            "Trigger": one_line(capital(TRIGGER_LABELS.get(trigger.name, trigger.name))),
            "p": trigger.p_value,
            "Fires at p up to": trigger.level,
            "Verdict": trigger.verdict,
        }
        for trigger in recommendation.triggers
    ]
    small = {name: st.column_config.NumberColumn(format="%.2g") for name in ("p", "Fires at p up to")}
    st.dataframe(rows, hide_index=True, column_config=small, alt="p-values of the triggers and their levels")
    if recommendation.look is not None and recommendation.budget is not None:
        st.caption(
            f"This is look {recommendation.look:,} at this model and source. The limits of p become smaller with each "
            "look, so that the chance of a false recommendation over the model's life is at most "
            f"{percent(recommendation.budget)}."
        )


def alerts(project: Project) -> None:
    """Show the newest alerts and their delivery."""
    st.header("Alerts")
    newest = project.alerts.newest(ALERTS)
    if not newest:
        st.caption("No alert yet. Alerts report the events of this page to the channels in `CHURNOPS_ALERTS__URLS`.")
        return
    failed = [alert for alert in newest if any(one.error not in (None, UNDER_WAY) for one in alert.tries)]
    if failed:
        which = "The only alert" if len(newest) == 1 else f"{len(failed)} of the newest {len(newest)} alerts"
        st.warning(f"{which} did not reach every channel: see the column Delivery.")
    wide = {name: st.column_config.TextColumn(width="medium") for name in ("Alert", "Delivery")}
    st.dataframe(
        list(map(_row, newest)), hide_index=True, column_config=wide, alt="The newest alerts with their delivery"
    )
    number = "alert" if len(newest) == 1 else f"{len(newest)} alerts"
    st.caption(f"The newest {number}, independent of the time range.")


def _row(alert: LoggedAlert) -> dict[str, Any]:
    notice = alert.alert.notice
    states = {None: "delivered", UNDER_WAY: "in progress"}
    failed_first = sorted(alert.tries, key=lambda one: one.error in states)
    tries = [f"{one.channel}: {states.get(one.error, f'failed, {one.error}')}" for one in failed_first]
    return {
        "When (UTC)": minute(alert.alert.at),
        "State": one_line(notice.state),
        "Severity": one_line(notice.severity),
        "Alert": one_line(notice.title),
        "Delivery": one_line("; ".join(tries), LONG),
        "Details": one_line(notice.body, LONG),
    }


def _axis(chosen: Span, series: CycleSeries) -> tuple[datetime, datetime] | None:
    """Return the ends of the time axis; None for the whole history."""
    return None if chosen.since == BEGIN or not series.cycles else (chosen.since, chosen.until)


def _thinned(series: CycleSeries) -> str:
    if series.every is None:
        return ""
    hours = series.every / timedelta(hours=1)
    every = f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
    return f" Too many reports to draw all: the figure shows the newest of every {every}."


def minute(at: datetime) -> str:
    """Return a time for a table."""
    return f"{at:%Y-%m-%d %H:%M}"
