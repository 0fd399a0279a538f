"""Call list page: make a list, open a kept one, note what became of each customer, export."""

import streamlit as st

from churnops.app.call_list.new_list import new_list
from churnops.app.call_list.opened import opened
from churnops.app.shared.health import deployed_health
from churnops.app.shared.project import NO_MODEL, production
from churnops.app.shared.text import one_line, plain
from churnops.journal.call_lists import CallList
from churnops.project import Project

OPENED, MADE = "calls:opened", "calls:made"
KEPT = 200
"""Number of lists that can be opened, the newest ones."""


def page(project: Project) -> None:
    """Show the page."""
    st.title("Call list")
    bundle = production(project)
    if bundle is None:
        st.info(NO_MODEL)
        return
    health = deployed_health(project, bundle)
    if health.level == "bad":
        st.warning(f"**Do not rely on new lists yet.** {plain(health.sentence)} See *Monitoring*.")
    kept = project.call_lists.newest(KEPT)
    made_before = st.session_state.setdefault(MADE, 0)
    with st.expander("Make a list", expanded=not kept, key=f"calls:form:{made_before}"):
        made, is_new = new_list(project, bundle, health)
    if made is not None:
        st.session_state[OPENED] = made.id
        kept = project.call_lists.newest(KEPT)
    if is_new:
        st.session_state[MADE] = made_before + 1  # another key closes the form, so the list is in sight
        st.rerun()
    if kept:
        opened(project, _chosen(kept))
    else:
        st.info("There is no list yet. Choose how many customers you can contact, and press Make the list.")


def _chosen(kept: list[CallList]) -> CallList:
    """Let the user choose a kept list; at first the newest one."""
    by_id = {one.id: one for one in kept}
    if st.session_state.get(OPENED) not in by_id:
        st.session_state[OPENED] = kept[0].id
    number: int = st.selectbox(
        "List",
        list(by_id),
        key=OPENED,
        format_func=lambda id_: one_line(_label(by_id[id_]), 120),
        help="Every list is kept, with the status of its customers.",
    )
    return by_id[number]


def _label(one: CallList) -> str:
    return f"{one.name} · {one.head.get('customers', 0):,} customers · made {one.at:%Y-%m-%d %H:%M} UTC"
