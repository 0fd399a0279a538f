"""The part of the monitoring page that shows columns then and now, the most important changes first."""

from pathlib import Path
from typing import Any

import streamlit as st

from churnops.app.monitoring.columns import (
    MOST,
    Counted,
    Ranked,
    column_importance,
    column_sentence,
    count_batch,
    ranked,
    verdict,
)
from churnops.app.monitoring.figures import column_figure
from churnops.app.monitoring.reports import ReportFile
from churnops.app.shared.sample import read_reference
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG
from churnops.errors import DataError
from churnops.features.build import feature_title
from churnops.model import Bundle
from churnops.monitoring.drift.finding import EFFECT_LABELS
from churnops.project import Project
from churnops.registry.reference import reference_path
from churnops.schema import Schema
from churnops.words import heading

PER_ROW = 3
MOST_FIGURES = 60
"""Figures of columns that are drawn when all are asked for; the table has the others."""


@st.fragment
def section(project: Project, bundle: Bundle | None, file: ReportFile) -> None:
    """Show the columns of a report; only this part runs again when more are asked for."""
    st.subheader("Columns")
    report = file.report
    listed = [column for column in report.feature_drift.columns if column.name]
    if not listed:
        st.caption("This report has no columns.")
        return
    mine = bundle if bundle is not None and bundle.content_sha256 == report.content_sha256 else None
    if mine is None:
        st.info(
            "This report is not about the model in production, so its columns are listed without figures: they would "
            "be compared with another model's customers."
        )
        _table(ranked(listed, None, project.settings.monitoring), project.settings.table)
        return
    importance, note = _importance(project, mine)
    columns = ranked(listed, importance, project.settings.monitoring)
    try:
        counted = _counted(project.reports / file.batch, mine)
    except DataError as error:
        st.info(plain(error))
        _table(columns, mine.schema)
        return
    whole = "" if counted.whole else f" Drawn are the first {counted.rows:,} customers of the report."
    st.caption(
        f"Grey: the customers the model was trained on. Blue: the customers of this report.{whole} Sorted by how much "
        f"a column matters to the model times how far it moved. {note}"
    )
    shown = columns[:MOST]
    if len(columns) > MOST and st.toggle(f"Show all {len(columns)} columns"):
        shown = columns[:MOST_FIGURES]
    for start in range(0, len(shown), PER_ROW):
        for place, one in zip(st.columns(PER_ROW), shown[start : start + PER_ROW], strict=False):
            with place.container(border=True):
                _card(one, counted, mine)
    with st.expander("All columns as a table"):
        _table(columns, mine.schema)


def _card(one: Ranked, counted: Counted, bundle: Bundle) -> None:
    name = one.finding.name
    column = bundle.schema.by_name.get(name)
    title = feature_title(name, bundle.schema, None)
    shown = heading(title, column.unit if column else "")
    st.markdown(f"**{plain(shown)}**", help=plain(one.finding.reason) or None)
    st.caption(verdict(one))
    if name not in counted.profile:
        st.caption("The model knows no distribution of it.")
        return
    reference, batch = bundle.reference[name], counted.profile[name]
    said = column_sentence(column, reference, batch)
    alt = one_line(f"{title}, {verdict(one)}. {said}")
    st.plotly_chart(column_figure(column, reference, batch), config=CONFIG, key=f"column {name}", alt=alt)
    st.caption(plain(said))


def _table(columns: tuple[Ranked, ...], schema: Schema) -> None:
    rows: list[dict[str, Any]] = [
        {
            "Column": one_line(feature_title(one.finding.name, schema, None)),
            "Verdict": verdict(one).partition(",")[0],
            "Importance": one.importance,
            "Difference": one.finding.effect,
            "Measured by": EFFECT_LABELS.get(one.finding.test, ""),
            "p": one.finding.p_value,
            "Counted with": one_line(one.finding.linked_to or ""),
            "Why": one_line(one.finding.reason),
        }
        for one in columns
    ]
    number = st.column_config.NumberColumn
    formats = {
        "Importance": number(format="percent", help="Share of what moves the model's scores."),
        "Difference": number(format="%.3f", help="How far it moved, by the measure named beside it; 0 is not at all."),
        "p": number(format="%.2g", help="How likely a difference as large is by chance, before any correction."),
    }
    st.dataframe(rows, hide_index=True, column_config=formats, alt="Every column, what was found, and why")


def _importance(project: Project, bundle: Bundle) -> tuple[dict[str, float], str]:
    """Return the importance of columns, and what it is taken from if that is not the reference sample."""
    path = reference_path(project.models, bundle.content_sha256)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _read_importance(bundle, bundle.content_sha256, path, changed)


@st.cache_data(show_spinner="Weighing columns", max_entries=4)
def _read_importance(_bundle: Bundle, sha256: str, path: Path, changed: int) -> tuple[dict[str, float], str]:
    try:
        sample = read_reference(path, _bundle.schema)
    except DataError:
        sample = None
    if sample is None:
        return column_importance(_bundle, None), "How much it matters is taken from the model's few probe customers."
    return column_importance(_bundle, sample.columns), ""


def _counted(path: Path, bundle: Bundle) -> Counted:
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _read_counted(bundle, bundle.content_sha256, path, changed)


@st.cache_data(show_spinner="Counting the report's customers", max_entries=8)
def _read_counted(_bundle: Bundle, sha256: str, path: Path, changed: int) -> Counted:
    return count_batch(path, _bundle)
