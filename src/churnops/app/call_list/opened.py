"""An opened call list: its head, its customers with status and notes, and the export."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st

from churnops.app.shared.access import person
from churnops.app.shared.text import one_line, plain
from churnops.decision.list_text import amount, answer, as_csv, chance, file_name, sentences, title
from churnops.decision.policy import DecisionPolicy
from churnops.errors import ChurnopsError
from churnops.journal.call_lists import CallList
from churnops.journal.contacts import MAX_NOTE, STATUSES, Contact
from churnops.project import Project
from churnops.registry.folder import who
from churnops.wire import CallListAnswer, CallListHead, ListedCustomerAnswer

SHOWN = "calls:shown"
ALL = "all"
COLOURS = {"good": "green", "watch": "orange", "bad": "red", "unknown": "gray"}
HEIGHT = 560
OWN_DOWNLOAD = """<style>
.st-key-calls_table [data-testid=stElementToolbarButton]:has([aria-label^="Download as CSV"]) { display: none; }
</style>"""
"""Hides the table's own download, which keeps formulas: the button "Download as CSV" has a safe one."""


def opened(project: Project, call_list: CallList) -> None:
    """Show a kept list."""
    shown = _read(project, call_list)
    _head(shown.head, call_list.request)
    if not shown.customers:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        status = st.segmented_control(
            "Show",
            [ALL, *STATUSES],
            default=ALL,
            key=f"calls:status:{call_list.id}",
            format_func=str.capitalize,
            on_change=_read_again,
        )
        st.download_button(
            "Download as CSV", lambda: _export(project, call_list), file_name(call_list), "text/csv", on_click="ignore"
        )
    rows = [one for one in shown.customers if status in (None, ALL, one.status)]
    if rows:
        _table(project, call_list, rows, f"{status or ALL}", DecisionPolicy.read(shown.head.policy))
    else:
        st.caption(f"No customer of this list has the status “{status}”.")


def _read(project: Project, call_list: CallList) -> CallListAnswer:
    """Return the list as it was when it was opened: the table's edits refer to its rows."""
    kept = st.session_state.get(SHOWN)
    if kept is None or kept.id != call_list.id:
        kept = answer(call_list, project.call_lists.customers(call_list.id), project.contacts.of_list(call_list.id))
        st.session_state[SHOWN] = kept
    return kept


def _read_again() -> None:
    st.session_state.pop(SHOWN, None)


def _export(project: Project, call_list: CallList) -> bytes:
    current = answer(call_list, project.call_lists.customers(call_list.id), project.contacts.of_list(call_list.id))
    return as_csv(current.customers, project.settings.table)


def _head(head: CallListHead, request: Mapping[str, Any]) -> None:
    policy = DecisionPolicy.read(head.policy)
    st.header(plain(title(head)), anchor=False)
    numbers = {
        "Customers": f"{head.customers:,}",
        "Expected profit": amount(head.profit.expected, policy.currency) if head.profit else "not known",
        "Cost": amount(head.cost, policy.currency) if head.cost is not None else "not known",
        "Lowest probability": chance(head.cut_off) if head.cut_off is not None else "none",
    }
    for column, (label, value) in zip(st.columns(4), numbers.items(), strict=True):
        column.metric(label, plain(value), border=True)
    for sentence in sentences(head, request):
        st.markdown(plain(sentence, 1000))
    if head.health:
        st.badge(plain(head.health.word), color=COLOURS[head.health.level])  # type: ignore[arg-type]
        st.caption(plain(f"The model when this list was made: {head.health.sentence}", 600))


def _table(
    project: Project, call_list: CallList, rows: Sequence[ListedCustomerAnswer], part: str, policy: DecisionPolicy
) -> None:
    """Show customers, and record each change of a status or note at once."""
    key = f"calls:table:{call_list.id}:{part}"
    st.html(OWN_DOWNLOAD)
    with st.container(key="calls_table"):
        st.data_editor(
            _columns(rows, policy),
            hide_index=True,
            width="stretch",
            height=HEIGHT,
            disabled=[name for name in _names(policy) if name not in ("Status", "Note")],
            column_config={
                "Rank": st.column_config.Column(width="small"),
                "Status": st.column_config.SelectboxColumn(options=list(STATUSES), required=True, width="small"),
                "Note": st.column_config.TextColumn(max_chars=MAX_NOTE, width="small"),
            },
            key=key,
            on_change=_record,
            args=(project, call_list.id, rows, key),
        )
    st.caption("Status and Note can be changed in the table. A change is kept at once, and every change is kept.")


def _names(policy: DecisionPolicy) -> list[str]:
    money = [] if policy.missing_terms() else ["Expected profit"]
    value = ["Value"] if policy.value_column else []
    return ["Rank", "Customer", "Probability", *money, *value, "Status", "Note", "Why", "Suggested action"]


def _columns(rows: Sequence[ListedCustomerAnswer], policy: DecisionPolicy) -> pl.DataFrame:
    """Return the table; texts from outside are single lines."""
    columns: dict[str, list[Any]] = {
        "Rank": [one.place for one in rows],
        "Customer": [one_line(one.customer_id, 128) for one in rows],
        "Probability": [chance(one.churn_probability) for one in rows],
        "Expected profit": [None if one.expected_profit is None else round(one.expected_profit, 2) for one in rows],
        "Value": [one.value for one in rows],
        "Why": [one_line("; ".join(one.reasons), 600) for one in rows],
        "Suggested action": [one.action for one in rows],
        "Status": [one.status for one in rows],
        "Note": [one.note for one in rows],
    }
    return pl.DataFrame({name: columns[name] for name in _names(policy)})


def _record(project: Project, call_list: int, rows: Sequence[ListedCustomerAnswer], key: str) -> None:
    """Record the table's edits that are not recorded yet."""
    edited: Mapping[int, Mapping[str, Any]] = st.session_state[key]["edited_rows"]
    known = project.contacts.of_list(call_list)
    entries = []
    for place, changes in edited.items():
        one = rows[int(place)]
        before = known.get(one.customer_id, Contact(one.customer_id, "to do", call_list))
        status = changes.get("Status", before.status)
        note = one_line(changes.get("Note", before.note) or "", MAX_NOTE)
        if (status, note) != (before.status, before.note):
            entries.append(Contact(one.customer_id, status, call_list, note))
    try:
        project.contacts.record(entries, by=writer())
    except ChurnopsError as error:
        st.error(plain(error, 500))


def writer() -> str:
    """Return the name of the user who is logged in, or else of the user who runs the dashboard."""
    return person(st.user) or who()
