"""Monitoring page: health of the deployed model, reports and alerts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import streamlit as st

from churnops.alerting.health import Health
from churnops.app.monitoring import columns_section, sections
from churnops.app.monitoring.reports import ReportFile, interval_text, read_report, recommendation_sentence
from churnops.app.monitoring.series import ALL, CUSTOM, RANGES, Span, failures, finished, labels, span
from churnops.app.shared.health import deployed_health
from churnops.app.shared.project import production, warn
from churnops.app.shared.text import one_line, plain
from churnops.errors import BundleError, ChurnopsError, DataError
from churnops.journal.cycles import Cycle, CycleLog, CycleSeries
from churnops.model import Bundle
from churnops.monitoring.document import ReportDocument
from churnops.project import Project
from churnops.settings import LIVE, RESERVED_SOURCES
from churnops.words import percent

REPORTS = 100
"""Limit of reports offered for the chosen time."""
VIEWS = ("Over time", "Columns", "Retraining")
_BOXES: dict[str, Any] = {"good": st.success, "watch": st.warning, "bad": st.error, "unknown": st.info}
_ICONS = {"good": "check_circle", "watch": "visibility", "bad": "error", "unknown": "help"}


def page(project: Project) -> None:
    """Show the page."""
    st.title("Monitoring")
    bundle, damaged = None, None
    try:
        bundle = production(project)
    except BundleError as error:
        damaged = Health("bad", f"The deployed model cannot be read: {error}", "Type `churnops rollback`.")
    newest = project.cycles.newest(1, report_only=None)
    _health(damaged or deployed_health(project, bundle))
    warn(project)
    if newest:
        _reports(project, bundle)
    else:
        _explain(deployed=bundle is not None)
    sections.alerts(project)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Show a ChurnopsError in one line. A fragment runs without its page, so it needs its own handler."""
    try:
        yield
    except ChurnopsError as error:
        st.error(plain(str(error).splitlines()[0]))


def _health(health: Health) -> None:
    since = f" Since {health.since:%d %B %Y, %H:%M} UTC." if health.since else ""
    lines = [f"**{health.word}.** {plain(health.sentence, sections.LONG)}{since}", *map(plain, health.also)]
    text = "\n\n".join(filter(None, [*lines, health.todo]))
    _BOXES[health.level](text, icon=f":material/{_ICONS[health.level]}:")


def _explain(*, deployed: bool) -> None:
    """Explain how to make the first report."""
    st.header("No report yet")
    if not deployed:
        st.markdown("A report needs a deployed model, and there is none. Train and deploy one first:")
        st.code("churnops run", language="bash")
        return
    st.markdown(
        "A report compares current customers with those of training, and predictions with outcomes. Make the first one:"
    )
    st.code("churnops monitor", language="bash")
    st.markdown("Without production customers, see an example with simulated customers:")
    st.code("churnops monitor --simulate", language="bash")
    st.markdown("For a report every day, keep this running: `churnops monitor --every 1d`.")


@st.fragment
def _reports(project: Project, bundle: Bundle | None) -> None:
    """Show the reports of a chosen time span; another choice runs only this part of the page again."""
    with errors_in_one_line():
        newest = project.cycles.newest(1, report_only=None)
        with_customers = project.cycles.newest_with_customers(bundle.content_sha256) if bundle else None
        own = [with_customers] if with_customers else project.cycles.newest(1, status="finished")
        reported = bool(own) or bool(project.cycles.newest(1, status="finished", report_only=None))
        chosen, report_only = _chosen(without_production=not own, reported=reported)
        source = _source(project, own[0].source) if own else None
        series = _series(project, newest, chosen, None if report_only else False, source)
        cycles = finished(series.cycles)
        for_failed = failures(series.cycles)
        if cycles:
            _shown(project, bundle, series, chosen, _details(project, bundle, cycles))
        else:
            st.info(
                f"No report in this time range. The newest monitoring cycle ran on {newest[0].at:%d %B %Y, %H:%M} UTC: "
                "choose a longer time range."
            )
        if for_failed:
            with st.expander(f"Failed cycles in this time range: {len(for_failed)}"):
                rows = [{"When (UTC)": sections.minute(at), "Why": one_line(why)} for at, why in for_failed[:REPORTS]]
                st.dataframe(rows, hide_index=True, alt="Failed cycles with their errors")


def _shown(project: Project, bundle: Bundle | None, series: CycleSeries, chosen: Span, file: ReportFile | None) -> None:
    """Show one of three views; a view is not computed until it is opened."""
    report = file.report if file else None
    over_time, columns, retraining = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
    if over_time.open:
        with over_time:
            sections.performance(series, chosen, report)
            if unmatched := project.unmatched_labels():
                st.caption(f"{unmatched[0].upper()}{unmatched[1:]}.")
            sections.drift(project, series, chosen, report)
    for tab in (columns, retraining):
        if tab.open and report is None:
            tab.caption("This view needs the report's file, which cannot be read.")
    if columns.open and file is not None:
        with columns:
            columns_section.section(project, bundle, file)
    if retraining.open and report is not None:
        with retraining:
            sections.retraining(project, report)


def _chosen(*, without_production: bool, reported: bool) -> tuple[Span, bool]:
    """Return the chosen time span, and whether to include report-only cycles."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    choice = left.segmented_control("Time range", [*RANGES, ALL, CUSTOM], default="30 days") or "30 days"
    today = datetime.now(UTC).date()
    days: Sequence[date] = ()
    if choice == CUSTOM:
        given = left.date_input("First and last day (UTC)", (today - timedelta(days=6), today), max_value=today)
        days = given if isinstance(given, tuple) else (given,)
    if without_production:
        if not reported:
            st.info("No monitoring cycle has finished yet.")
            return span(choice, datetime.now(UTC), days), True
        st.info(
            "No report on production yet. All reports are on simulated or past customers, or on files without a "
            "source; no alert or retraining follows from them. Type `churnops monitor` for a production report."
        )
        return span(choice, datetime.now(UTC), days), True
    shown = right.toggle(
        "Show simulated and past reports",
        help="Reports by `churnops monitor --simulate`, `--until` and `--batch`: simulated customers, earlier windows "
        "and files without a source. No alert or retraining follows from them.",
    )
    return span(choice, datetime.now(UTC), days), shown


def _source(project: Project, newest: str) -> str:
    """Return the source whose reports are shown; at first, the source of the newest report with customers."""
    names = [name for name in project.cycles.sources() if name in (LIVE, newest) or name not in RESERVED_SOURCES]
    first = newest
    if len(names) < 2:
        return first
    described = {LIVE: "Customers of the API"}
    return st.selectbox(
        "Source",
        names,
        index=names.index(first),
        format_func=lambda name: described.get(name, one_line(name, 64)),
        help="The API and each named file source have their own alerts and reports.",
    )


def _details(project: Project, bundle: Bundle | None, cycles: Sequence[Cycle]) -> ReportFile | None:
    """Let the user choose a report, and show its main numbers; None if its file cannot be read.

    The first choice is the newest report on the deployed model that has customers.
    """
    offered = cycles[:REPORTS]
    deployed = bundle.content_sha256 if bundle else None
    names = labels(offered, deployed)
    other = [(cycle.content_sha256 != deployed, not cycle.summary.get("rows")) for cycle in offered]
    # The key names the newest report and the model, so a newer one replaces an earlier choice.
    chosen = st.selectbox("Report", names, index=other.index(min(other)), key=f"report of {names[0]} on {deployed}")
    cycle = offered[names.index(chosen)]
    if bundle is not None and cycle.content_sha256 != deployed:
        own = any(one.content_sha256 == deployed for one in offered)
        missing = "" if own else " There is no report on the deployed model in this time range."
        st.warning(f"This report is on an earlier model. {plain(bundle.version_name)} is deployed now.{missing}")
    try:
        file = _report(project, cycle.report or "")
    except DataError as error:
        st.warning(plain(error, sections.LONG))
        return None
    _numbers(file.report)
    return file


def _numbers(report: ReportDocument) -> None:
    """Show the main numbers of a report, and whether it recommends retraining."""
    drift_rate = report.feature_drift.drift_rate
    whose = "" if not report.acts_as or report.acts_as == LIVE else f", source {plain(report.acts_as)}"
    st.caption(f"{plain(report.model_version)} on {plain(report.source)}{whose}.")
    performance = report.performance
    auc = performance.known_metrics.get("roc_auc")
    cards = (
        (
            "ROC-AUC",
            "cannot tell" if auc is None or auc.value is None else f"{auc.value:.3f}",
            f"Quality of the ranking by score: 1 if all customers who left rank first, 0.5 for a random order. "
            f"{f'In this report it is {interval_text(auc)}.' if auc and auc.complete else ''}",
        ),
        (
            "Outcomes known",
            "none due" if performance.coverage is None else percent(performance.coverage),
            "Of the predictions older than the label horizon, the share with a recorded outcome.",
        ),
        (
            "Drift rate",
            "cannot tell" if drift_rate is None else percent(drift_rate),
            "Share of columns whose values differ from training, by more than chance and by a relevant size.",
        ),
        (
            "Customers",
            "unknown" if report.rows is None else f"{report.rows:,}",
            "Customers in this report.",
        ),
    )
    for place, (label, value, explanation) in zip(st.columns(4), cards, strict=True):
        place.metric(label, value, help=explanation, border=True)
    st.markdown(f"**{plain(recommendation_sentence(report), sections.LONG)}**")


def _series(
    project: Project, newest: Sequence[Cycle], chosen: Span, report_only: bool | None, source: str | None = None
) -> CycleSeries:
    last = (newest[0].at, newest[0].report)
    return _read_series(project.cycles, str(project.settings.root), last, chosen, report_only, source)


@st.cache_data(show_spinner=False, max_entries=32)
def _read_series(
    _log: CycleLog,
    root: str,
    last: tuple[datetime, str | None],
    chosen: Span,
    report_only: bool | None,
    source: str | None,
) -> CycleSeries:
    return _log.between(chosen.since, chosen.until, report_only=report_only, source=source)


def _report(project: Project, name: str) -> ReportFile:
    path = project.reports / name
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _read_report(project.reports, name, changed)


@st.cache_data(show_spinner=False, max_entries=32)
def _read_report(folder: Any, name: str, changed: int) -> ReportFile:
    return read_report(folder, name)
