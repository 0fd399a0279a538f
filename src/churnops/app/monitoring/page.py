"""Monitoring: can the model still be believed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import streamlit as st

from churnops.alerting.notices import Subject
from churnops.app.monitoring import columns_section, sections
from churnops.app.monitoring.health import Health, Limits, Production, judge
from churnops.app.monitoring.reports import ReportFile, interval_text, read_report, recommendation_sentence
from churnops.app.monitoring.series import ALL, CUSTOM, RANGES, Span, failures, finished, labels, span
from churnops.app.shared.project import production, warn
from churnops.app.shared.text import one_line, percent, plain
from churnops.errors import BundleError, ChurnopsError, DataError
from churnops.journal.cycles import Cycle, CycleLog, CycleSeries
from churnops.model import Bundle
from churnops.project import Project
from churnops.settings import LIVE, RESERVED_SOURCES

REPORTS = 100
"""Newest reports of the chosen time that can be looked into."""
VIEWS = ("Over time", "Columns", "Retraining")
_BOXES: dict[str, Any] = {"good": st.success, "watch": st.warning, "bad": st.error, "untold": st.info}
_ICONS = {"good": "check_circle", "watch": "visibility", "bad": "error", "untold": "help"}


def page(project: Project) -> None:
    """Show the page."""
    st.title("Monitoring")
    bundle, damaged = None, None
    try:
        bundle = production(project.models)
    except BundleError as error:
        damaged = Health("bad", f"The model in production cannot be read: {error}", "Go back with `churnops rollback`.")
    newest = project.cycles.newest(1, report_only=None)
    _health(damaged or _judged(project, bundle, newest))
    warn(project)
    if newest:
        _reports(project, bundle)
    else:
        _explain(deployed=bundle is not None)
    sections.alerts(project)


@contextmanager
def told() -> Iterator[None]:
    """Show an error of ours in one line: a part that runs again by itself is not within its page."""
    try:
        yield
    except ChurnopsError as error:
        st.error(plain(str(error).splitlines()[0]))


def _judged(project: Project, bundle: Bundle | None, newest: Sequence[Cycle]) -> Health:
    now, settings = datetime.now(UTC), project.settings.monitoring
    model = None
    if bundle is not None:
        answered = project.folder.answered()
        mine = bool(answered) and answered[-1].content_sha256 == bundle.content_sha256
        model = Production(bundle.content_sha256, answered[-1].at if mine else None)
    cycles = _series(project, newest, span(ALL, now), False).cycles[::-1] if newest else ()
    limits = Limits(settings.drift_rate_threshold, timedelta(days=settings.window_days))
    return judge(model, cycles, project.alerts.firing(get_args(Subject)), limits, now)


def _health(health: Health) -> None:
    since = f" Since {health.since:%d %B %Y, %H:%M} UTC." if health.since else ""
    lines = [f"**{health.word}.** {plain(health.sentence, sections.LONG)}{since}", *map(plain, health.also)]
    text = "\n\n".join(filter(None, [*lines, health.todo]))
    _BOXES[health.level](text, icon=f":material/{_ICONS[health.level]}:")


def _explain(*, deployed: bool) -> None:
    """Say how to make the first report."""
    st.subheader("No report yet")
    if not deployed:
        st.markdown("A report is about the model in production, and there is none. Train and deploy one first:")
        st.code("churnops run", language="bash")
        return
    st.markdown(
        "A report compares the customers that the model was asked about with those it was trained on, and its "
        "predictions with what became of them. Make the first one:"
    )
    st.code("churnops monitor", language="bash")
    st.markdown("To see what a report looks like without any customers, make one of made-up customers:")
    st.code("churnops monitor --simulate", language="bash")
    st.markdown("To have one every day, let this run: `churnops monitor --every 1d`.")


@st.fragment
def _reports(project: Project, bundle: Bundle | None) -> None:
    """Show what reports of a chosen time say; only this part runs again when another one is chosen."""
    with told():
        newest = project.cycles.newest(1, report_only=None)
        with_customers = project.cycles.newest_with_customers(bundle.content_sha256) if bundle else None
        own = [with_customers] if with_customers else project.cycles.newest(1, status="finished")
        chosen, report_only = _chosen(only_aside=not own)
        source = _source(project, own[0].source) if own else None
        series = _series(project, newest, chosen, None if report_only else False, source)
        found = finished(series.cycles)
        for_failed = failures(series.cycles)
        if found:
            _shown(project, bundle, series, chosen, _details(project, found))
        else:
            st.info(
                f"No report is of this time. The newest cycle was on {newest[0].at:%d %B %Y, %H:%M} UTC: "
                "choose a longer time range."
            )
        if for_failed:
            with st.expander(f"Failed cycles in this time: {len(for_failed)}"):
                rows = [{"When (UTC)": sections.minute(at), "Why": one_line(why)} for at, why in for_failed[:REPORTS]]
                st.dataframe(rows, hide_index=True, alt="Cycles that failed, and why")


def _shown(project: Project, bundle: Bundle | None, series: CycleSeries, chosen: Span, file: ReportFile | None) -> None:
    """Show one of three views; the others are not worked out until they are opened."""
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
            tab.caption("It cannot be shown without the report.")
    if columns.open and file is not None:
        with columns:
            columns_section.section(project, bundle, file)
    if retraining.open and report is not None:
        with retraining:
            sections.retraining(project, report)


def _chosen(*, only_aside: bool) -> tuple[Span, bool]:
    """Return the time that is chosen, and whether reports are shown that nothing follows from."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    choice = left.segmented_control("Time range", [*RANGES, ALL, CUSTOM], default="30 days") or "30 days"
    today = datetime.now(UTC).date()
    days: Sequence[date] = ()
    if choice == CUSTOM:
        given = left.date_input("First and last day (UTC)", (today - timedelta(days=6), today), max_value=today)
        days = given if isinstance(given, tuple) else (given,)
    if only_aside:
        st.info(
            "All reports so far are of simulated or past customers, or of files without a source: they are shown, "
            "marked, and nothing follows from them. `churnops monitor` makes one of production."
        )
        return span(choice, datetime.now(UTC), days), True
    shown = right.toggle(
        "Show reports that nothing follows from",
        help="Reports of `churnops monitor --simulate`, `--until` and `--batch`: made-up customers, windows that ended "
        "earlier, and files without a source. They alert nobody and retrain nothing.",
    )
    return span(choice, datetime.now(UTC), days), shown


def _source(project: Project, newest: str) -> str:
    """Return the source whose reports are shown: at first the one of the newest report with customers."""
    names = [name for name in project.cycles.sources() if name in (LIVE, newest) or name not in RESERVED_SOURCES]
    first = newest
    if len(names) < 2:
        return first
    described = {LIVE: "What the API answers"}
    return st.selectbox(
        "Customers of",
        names,
        index=names.index(first),
        format_func=lambda name: described.get(name, one_line(name, 64)),
        help="Each source has alarms and reports of its own: what the API answers, and files by name.",
    )


def _details(project: Project, found: Sequence[Cycle]) -> ReportFile | None:
    """Let a report be chosen, the newest at first, and return what it says."""
    names = labels(found[:REPORTS])
    # A newer report is another key: it is shown, and not what was chosen before there was one.
    first = next((i for i, cycle in enumerate(found[:REPORTS]) if cycle.summary.get("rows")), 0)
    chosen = st.selectbox("Report", names, index=first, key=f"report of {names[0]}")
    cycle = found[names.index(chosen)]
    try:
        file = _report(project, cycle.report or "")
    except DataError as error:
        st.warning(plain(error, sections.LONG))
        return None
    report = file.report
    drift_rate = report.feature_drift.drift_rate
    whose = "" if not report.acts_as or report.acts_as == LIVE else f", source {plain(report.acts_as)}"
    st.caption(f"{plain(report.model_version)} on {plain(report.source)}{whose}.")
    performance = report.performance
    auc = performance.known_metrics.get("roc_auc")
    cards = (
        (
            "ROC-AUC",
            "cannot tell" if auc is None or auc.value is None else f"{auc.value:.3f}",
            f"How well scores order customers who left before those who stayed: 1 is perfect, 0.5 is chance. "
            f"{f'Here it lies {interval_text(auc)}.' if auc and auc.complete else ''}",
        ),
        (
            "Outcomes known",
            "none due" if performance.coverage is None else percent(performance.coverage),
            "Share of the predictions old enough to be judged for which it is recorded whether the customer left.",
        ),
        (
            "Drift rate",
            "cannot tell" if drift_rate is None else percent(drift_rate),
            "Share of the columns that differ from those of training, beyond chance and by a size that matters.",
        ),
        (
            "Customers",
            "unknown" if report.rows is None else f"{report.rows:,}",
            "Whom the model was asked about in this report.",
        ),
    )
    for place, (label, value, explanation) in zip(st.columns(4), cards, strict=True):
        place.metric(label, value, help=explanation, border=True)
    st.markdown(f"**{plain(recommendation_sentence(report), sections.LONG)}**")
    return file


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
