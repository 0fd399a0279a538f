"""Inputs of the Policy page: what a contact costs and brings, and the customers to compute with."""

from datetime import timedelta
from typing import NamedTuple

import streamlit as st

from churnops.app.shared.text import one_line
from churnops.decision.known_outcomes import Window
from churnops.decision.policy import DecisionPolicy
from churnops.model import Bundle
from churnops.pipelines.choose_policy import Source, window
from churnops.pipelines.decide import changed
from churnops.project import Project
from churnops.words import title

DAYS = 90
COST, VALUE, SUCCESS = 10.0, 200.0, 0.25
"""Examples for a policy that lacks them."""
SAME = "The same for every customer"
JOURNAL, TRAINING = "Customers with known outcomes", "Customers of the training data"


class Inputs(NamedTuple):
    """A policy to try, and the customers to try it on."""

    policy: DecisionPolicy
    source: Source
    window: Window


def inputs(project: Project, bundle: Bundle, policy: DecisionPolicy) -> Inputs:
    """Let the user state assumptions and customers."""
    st.subheader("Assumptions", anchor=False)
    offer = _offer(bundle, policy)
    st.subheader("Customers", anchor=False)
    return Inputs(changed(policy, offer), *_customers(project))


def _offer(bundle: Bundle, policy: DecisionPolicy) -> dict[str, object]:
    """Let the user state cost, value and success rate; they begin with those of the policy."""
    numbers = {c.name: c for c in bundle.schema.inputs if c.kind in ("integer", "number") and not c.personal}
    left, right = st.columns(2)
    cost = left.number_input(
        "Cost of contacting a customer",
        0.0,
        1e9,
        _first(policy.cost, COST),
        step=1.0,
        key="policy:cost",
        persist_state="session",
        help="Paid for each contacted customer: the call and the discount.",
    )
    success = right.number_input(
        "Offers that work (%)",
        0.0,
        100.0,
        100 * _first(policy.success_rate, SUCCESS),
        step=5.0,
        key="policy:success",
        persist_state="session",
        help="Of 100 customers who would leave and get the offer, the number who stay. An estimate of yours.",
    )
    currency = left.text_input(
        "Currency",
        policy.currency,
        max_chars=12,
        key="policy:currency",
        persist_state="session",
        placeholder="such as EUR",
    )
    names = ["", *numbers]
    column = right.selectbox(
        "Value of a customer who stays",
        names,
        names.index(policy.value_column) if policy.value_column in numbers else 0,
        key="policy:column",
        persist_state="session",
        format_func=lambda name: f"Column {one_line(title(numbers[name]), 60)}" if name else SAME,
        help="What you keep if a customer stays, such as a year's bill.",
    )
    value: float | str = column
    if not column:
        stated = policy.value if isinstance(policy.value, float) else None
        value = right.number_input(
            "Value in money",
            0.0,
            1e9,
            _first(stated, VALUE),
            step=10.0,
            key="policy:value",
            persist_state="session",
            help="In the same currency as the cost.",
        )
    return {"cost": cost, "value": value, "success_rate": success / 100, "currency": one_line(currency, 12)}


def _first(stated: float | None, otherwise: float) -> float:
    return otherwise if stated is None else min(stated, 1e9)


def _customers(project: Project) -> tuple[Source, Window]:
    source = st.radio(
        "Compute with",
        (JOURNAL, TRAINING),
        horizontal=True,
        key="policy:source",
        persist_state="session",
        help="Known outcomes: customers who were scored, and of whom it is known since whether they left. "
        "Training data: a sample from which the model was made.",
    )
    newest = window(project, DAYS)
    first, last = newest.begin.date(), newest.end.date()
    if source == TRAINING:
        return "training", newest
    chosen = st.date_input(
        "Scored between",
        (first, last),
        max_value=last,
        key="policy:window",
        persist_state="session",
        help=f"Of customers scored after {last}, it is not known yet who stays.",
    )
    ends = chosen if isinstance(chosen, tuple) else (chosen,)
    if len(ends) == 2 and ends != (first, last):
        days = max(1, (ends[1] - ends[0]) // timedelta(days=1) + 1)
        return "journal", window(project, days, ends[1])
    return "journal", newest
