"""Columns on the Monitoring page, before and now, the most important changes first."""

from pathlib import Path
from typing import Any

import streamlit as st

from churnops.app.monitoring.columns import (
    SHOWN,
    Counted,
    Ranked,
    column_sentence,
    count_batch,
    ranked,
    verdict,
)
from churnops.app.monitoring.figures import column_figure
from churnops.app.monitoring.reports import ReportFile
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG
from churnops.decision.sample import read_reference
from churnops.errors import DataError
from churnops.evaluation.importance import column_importance
from churnops.features.build import feature_title
from churnops.model import Bundle
from churnops.monitoring.drift.finding import EFFECT_LABELS
from churnops.project import Project
from churnops.registry.reference import reference_path
from churnops.schema import Schema
from churnops.words import heading

PER_ROW = 3
MAX_FIGURES = 60
"""Limit of figures after *Show all*; the table has every column."""


@st.fragment
def section(project: Project, bundle: Bundle | None, file: ReportFile) -> None:
    """Show the columns of a report; only this part runs again after *Show all*."""
    st.header("Columns")
    report = file.report
    listed = [column for column in report.feature_drift.columns if column.name]
    if not listed:
        st.caption("This report has no columns.")
        return
    model = bundle if bundle is not None and bundle.content_sha256 == report.content_sha256 else None
    if model is None:
        st.info(
            "This report is on another model than the deployed one. Its columns are listed without figures, because "
            "figures need the reference customers of the report's model."
        )
        _table(ranked(listed, None, project.settings.monitoring), project.settings.table)
        return
    importance, note = _importance(project, model)
    columns = ranked(listed, importance, project.settings.monitoring)
    try:
        counted = _counted(project.reports / file.batch, model)
    except DataError as error:
        st.info(plain(error))
        _table(columns, model.schema)
        return
    whole = "" if counted.whole else f" The figures show the first {counted.rows:,} customers."
    st.caption(
        f"Grey: customers in training. Blue: customers of this report.{whole} Order: importance for the model times "
        f"size of the drift. {note}"
    )
    shown = columns[:SHOWN]
    if len(columns) > SHOWN and st.toggle(f"Show all {len(columns)} columns"):
        shown = columns[:MAX_FIGURES]
    for start in range(0, len(shown), PER_ROW):
        for place, one in zip(st.columns(PER_ROW), shown[start : start + PER_ROW], strict=False):
            with place.container(border=True):
                _card(one, counted, model)
    with st.expander("Statistics of all columns"):
        _table(columns, model.schema)


def _card(one: Ranked, counted: Counted, bundle: Bundle) -> None:
    name = one.finding.name
    column = bundle.schema.by_name.get(name)
    title = feature_title(name, bundle.schema, None)
    shown = heading(title, column.unit if column else "")
    st.markdown(f"**{plain(shown)}**", help=plain(one.finding.reason) or None)
    st.caption(verdict(one))
    if name not in counted.profile:
        st.caption("The model has no reference distribution of this column.")
        return
    reference, batch = bundle.reference[name], counted.profile[name]
    sentence = column_sentence(column, reference, batch)
    alt = one_line(f"{title}, {verdict(one)}. {sentence}")
    st.plotly_chart(column_figure(column, reference, batch), config=CONFIG, key=f"column {name}", alt=alt)
    st.caption(plain(sentence))


def _table(columns: tuple[Ranked, ...], schema: Schema) -> None:
    rows: list[dict[str, Any]] = [
        {
            "Column": one_line(feature_title(one.finding.name, schema, None)),
            "Verdict": verdict(one).partition(",")[0],
            "Importance": one.importance,
            "Difference": one.finding.effect,
            "Measured by": EFFECT_LABELS.get(one.finding.test, ""),
            "p": one.finding.p_value,
            "Determined by": one_line(one.finding.linked_to or ""),
            "Why": one_line(one.finding.reason),
        }
        for one in columns
    ]
    number = st.column_config.NumberColumn
    formats = {
        "Importance": number(format="percent", help="Share of the total contribution to the model's scores."),
        "Difference": number(format="%.3f", help="Size of the drift, in the next column's measure; 0 is no drift."),
        "p": number(format="%.2g", help="Probability of at least such a difference by chance, before correction."),
    }
    st.dataframe(rows, hide_index=True, column_config=formats, alt="Every column with its verdict and reason")


def _importance(project: Project, bundle: Bundle) -> tuple[dict[str, float], str]:
    """Return the importance of columns, and a note if it does not come from the reference sample."""
    path = reference_path(project.models, bundle.content_sha256)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _read_importance(bundle, bundle.content_sha256, path, changed)


@st.cache_data(show_spinner="Computing importance", max_entries=4)
def _read_importance(_bundle: Bundle, sha256: str, path: Path, changed: int) -> tuple[dict[str, float], str]:
    try:
        sample = read_reference(path, _bundle.schema)
    except DataError:
        sample = None
    if sample is None:
        return column_importance(_bundle, None), "Importance is a rough estimate from a few example customers."
    return column_importance(_bundle, sample.columns), ""


def _counted(path: Path, bundle: Bundle) -> Counted:
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _read_counted(bundle, bundle.content_sha256, path, changed)


@st.cache_data(show_spinner="Counting the report's customers", max_entries=8)
def _read_counted(_bundle: Bundle, sha256: str, path: Path, changed: int) -> Counted:
    return count_batch(path, _bundle)
