"""Form of a new call list: how many customers, which ones, and whom to leave out."""

from typing import Any

import streamlit as st

from churnops.alerting.deployed import as_list_health
from churnops.alerting.health import Health
from churnops.app.call_list.opened import writer
from churnops.app.shared.text import one_line, plain
from churnops.decision.list_request import DAYS, MAX_CUSTOMERS, ListRequest
from churnops.decision.list_text import amount
from churnops.decision.newest import PARTS, bring_up_to_date
from churnops.decision.policy import DecisionPolicy
from churnops.errors import ChurnopsError
from churnops.journal.call_lists import CallList
from churnops.model import Bundle
from churnops.project import Project
from churnops.words import percent, title

CONTACTS, BUDGET, POLICY = "A number of customers", "A budget", "As many as the policy says"
ANY = "All customers"


def new_list(project: Project, bundle: Bundle, health: Health) -> tuple[CallList | None, bool]:
    """Show the form; return the list that was made, if the button was pressed, and whether it is new."""
    maker = project.list_maker(bundle)
    given = _limit(maker.policy, bundle.threshold)
    given["where"] = _segment(bundle)
    left, right = st.columns(2)
    given["days"] = left.number_input(
        "Leave out customers contacted or listed within (days)",
        0,
        3650,
        DAYS,
        key="calls:days",
        help="So that nobody is called twice. 0: leave out nobody.",
    )
    given["name"] = right.text_input(
        "Name", key="calls:name", max_chars=100, placeholder="today's date", help="To find it."
    )
    if not st.button("Make the list", type="primary"):
        return None, False
    try:
        with st.spinner("Making the list"):
            bring_up_to_date(project.engine, maker.policy, parts=PARTS)
            request = ListRequest.read(given | {"name": " ".join(str(given["name"]).split())})
            made, is_new = maker.make(request, health=as_list_health(health), by=writer())
    except ChurnopsError as error:
        st.error(plain(error, 600))
        return None, False
    if not is_new:
        st.info(
            "This list was made before: the same request on the same day gives the same list. Give it another name."
        )
    return made, is_new


def _limit(policy: DecisionPolicy, threshold: float) -> dict[str, Any]:
    """Let the user say where the list ends."""
    if policy.missing_terms():
        st.info(
            "Nobody has stated yet what a contact costs and brings. So a list has no expected profit"
            + ("" if policy.cost else ", and cannot have a budget")
            + ". The page *Policy* sets these numbers."
        )
    options = [CONTACTS, *([BUDGET] if policy.cost else []), POLICY]
    left, right = st.columns(2)
    chosen = left.selectbox(
        "How many customers", options, key="calls:limit", help=plain(_about(policy, threshold), 400)
    )
    if chosen == CONTACTS:
        number = right.number_input("Customers", 1, MAX_CUSTOMERS, policy.contacts or 100, key="calls:contacts")
        return {"contacts": int(number)}
    if chosen == BUDGET:
        unit = f" ({plain(policy.currency)})" if policy.currency else ""
        least = float(policy.cost or 0)
        budget = policy.budget or 100 * least
        return {"budget": right.number_input(f"Budget{unit}", least, 1e12, budget, key="calls:budget")}
    right.caption(plain(_about(policy, threshold), 400))
    return {}


def _about(policy: DecisionPolicy, threshold: float) -> str:
    if policy.missing_terms():
        return (
            "The decision policy lacks cost, value or success rate, so lists show no expected profit. "
            "Set them on the page Policy."
        )
    value = policy.value if policy.value_column else amount(float(policy.value or 0), policy.currency)
    end = {
        "budget": f"up to a budget of {amount(policy.budget or 0, policy.currency)}",
        "contacts": f"up to {policy.contacts or 0:,} customers",
        "threshold": f"every customer whose probability of leaving is at least {percent(threshold)}",
    }
    cost = amount(policy.cost or 0, policy.currency)
    return (
        f"Policy {policy.version}: {end[policy.rule]}; a contact costs {cost}, "
        f"a kept customer is worth {value}, {100 * (policy.success_rate or 0):g} % of offers work."
    )


def _segment(bundle: Bundle) -> dict[str, list[str]]:
    """Let the user choose levels of one column."""
    columns = {c.name: c for c in bundle.schema.inputs if c.kind in ("category", "flag") and not c.personal}
    if not columns:
        return {}
    left, right = st.columns(2)
    names = ["", *columns]
    name = left.selectbox(
        "Which customers",
        names,
        key="calls:column",
        format_func=lambda each: one_line(title(columns[each]), 80) if each else ANY,
    )
    if not name:
        return {}
    levels = right.multiselect(
        "Only those with",
        columns[name].levels,
        key=f"calls:levels:{name}",
        format_func=lambda level: one_line(level, 80),
    )
    return {name: list(levels)} if levels else {}
