"""The section "Choosing the policy": what policies would have brought on customers whose outcome is known."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from churnops.app.policy.assumptions import Inputs, inputs
from churnops.app.policy.figures import budget_figure, contacts_figure, segments_figure
from churnops.app.shared.show import note, place, say
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.use_policy import use_this
from churnops.decision.choice import Choice, Profit
from churnops.decision.known_outcomes import Window
from churnops.decision.policy import DecisionPolicy
from churnops.decision.policy_text import advice, assumptions
from churnops.errors import ChurnopsError
from churnops.model import Bundle
from churnops.pipelines.choose_policy import (
    KnownCustomers,
    journal_customers,
    profits,
    segment_columns,
    too_few,
    training_customers,
)
from churnops.project import Project
from churnops.words import percent, title


@st.fragment
def choosing(project: Project, bundle: Bundle, policy: DecisionPolicy) -> None:
    """Show the results above the inputs that they depend on."""
    results = st.container()
    try:
        given = inputs(project, bundle, policy)
        with results:
            _results(project, bundle, policy, given)
    except ChurnopsError as error:  # a fragment runs without the page around it
        with results:
            st.error(plain(error, 600))


def _results(project: Project, bundle: Bundle, policy: DecisionPolicy, given: Inputs) -> None:
    columns = sorted(segment_columns(bundle.schema), key=lambda name: len(bundle.schema.by_name[name].levels))
    by = st.session_state.get("policy:by")
    if by not in columns:
        by = next(iter(columns), None)
    known = _customers(project, bundle, given, by)
    if not known.sample.enough:
        st.info(plain(_waiting(project, given, known), 800))
        return
    choice = profits(project, bundle, known.sample, given.policy, by)
    _advice(choice, given.policy, known, policy)
    _table(choice)
    _curves(choice, given.policy)
    if by is not None:
        _segments(choice, bundle, columns, given.policy)
    _use(project, choice, given.policy)


def _waiting(project: Project, given: Inputs, known: KnownCustomers) -> str:
    """Explain that there are too few outcomes, and what can be done meanwhile."""
    if given.source == "training":
        return "The sample of the training data is too small: at least 200 customers are needed."
    reason = too_few(project, known.sample, given.window)
    return f"{reason} Meanwhile choose “Customers of the training data” below."


def _advice(choice: Choice, tried: DecisionPolicy, known: KnownCustomers, in_force: DecisionPolicy) -> None:
    st.info(plain(advice(choice, tried), 800))
    missing = " Nobody has set them yet, so these are examples: change them below." if in_force.missing_terms() else ""
    say(f"Assumed, not measured: {assumptions(tried)}.{missing}")
    note(f"Computed with {choice.in_force.customers:,} {known.description}.")


def _table(choice: Choice) -> None:
    """Show the policies that people compare."""
    st.subheader("What these customers would have brought", anchor=False)
    best = "Best" if choice.threshold is None else f"Best: probability of at least {percent(choice.threshold)}"
    rows = {"In force": choice.in_force, best: choice.best, "Everyone": choice.everybody, "Nobody": choice.nobody}
    _profits_table("Contacted", rows)
    note(
        "Profit: value of the customers who would have stayed because of the contact, minus the cost of all contacts. "
        f"At least, at most: with {percent(choice.confidence)} confidence, as many other customers of the same kind "
        "bring a profit in this range. The ranges allow for chance, and for picking the best of many. A customer may "
        "have stayed because of an earlier offer: then a contact looks less useful than it was."
    )


def _profits_table(label: str, rows: dict[str, Profit]) -> None:
    columns: dict[str, list[Any]] = {
        label: [one_line(name, 80) for name in rows],
        "Profit": [round(one.profit) for one in rows.values()],
        "At least": [round(one.low) for one in rows.values()],
        "At most": [round(one.high) for one in rows.values()],
        "Contacts": [one.contacts for one in rows.values()],
        "Of them left": [one.left for one in rows.values()],
    }
    numbers = {name: st.column_config.NumberColumn(format="localized") for name in list(columns)[1:]}
    st.dataframe(columns, hide_index=True, column_config=numbers, alt=f"Profit by {label.lower()}")


def _curves(choice: Choice, tried: DecisionPolicy) -> None:
    left, right = st.columns(2)
    with left:
        st.subheader("How many to contact", anchor=False)
        best, everybody = choice.best, choice.everybody.contacts
        sentence = (
            f"The profit is highest with {best.contacts:,} of {everybody:,} customers: "
            f"{tried.amount(round(best.profit))}."
        )
        say(sentence)
        place(contacts_figure(choice, tried.currency), sentence)
        note("Customers with the highest probability are contacted first. Shaded: range of each profit.")
    with right:
        st.subheader("How much to spend", anchor=False)
        if not tried.cost:
            note("A contact costs nothing, so no budget is needed.")
            return
        best = max(choice.budgets, key=lambda one: one.profit)
        sentence = (
            f"Of these budgets, {tried.amount(best.contacts * tried.cost)} brings most: "
            f"{tried.amount(round(best.profit))}."
        )
        say(sentence)
        place(budget_figure(choice, tried.cost, tried.currency), sentence)
        note("As if one call list had been made of all these customers. Contacts that bring most come first.")


def _segments(choice: Choice, bundle: Bundle, columns: Sequence[str], tried: DecisionPolicy) -> None:
    """Show the profit of each level of a column."""
    st.subheader("Which customers bring the profit", anchor=False)
    by = st.selectbox(
        "Compare customers by",
        columns,
        key="policy:by",
        persist_state="session",
        format_func=lambda name: one_line(title(bundle.schema.by_name[name]), 80),
    )
    if not choice.segments:
        note("None of these customers has a value in this column.")
        return
    first = max(choice.segments, key=lambda one: one.profit)
    level = f"{title(bundle.schema.by_name[by])} {first.name}"
    sentence = f"Under the policy in force, customers with {level} bring most: {tried.amount(round(first.profit))}."
    say(sentence)
    place(segments_figure(choice.segments, tried.currency), sentence)
    note(
        "In brackets: number of contacts. Thin lines: range of each profit. The ranges hold for all bars at once, so "
        "also for the highest one."
    )
    with st.expander("As a table"):
        _profits_table("Customers", {one.name: one for one in choice.segments})


def _use(project: Project, choice: Choice, tried: DecisionPolicy) -> None:
    st.subheader("Use the best policy", anchor=False)
    if choice.threshold is None:
        note("No probability selects the best customers, so there is nothing to set.")
        return
    if choice.gain[1] <= 0.0:
        note("It is not proven better than the policy in force, so there is little reason to change.")
    terms = {name: getattr(tried, name) for name in ("cost", "value", "success_rate", "currency")}
    limit = "; the limit of a call list is removed" if tried.limit is not None else ""
    use_this(
        project,
        {"threshold": choice.threshold, "budget": None, "contacts": None, **terms},
        f"the best policy (probability of at least {percent(choice.threshold)}; {assumptions(tried)}{limit})",
    )


def _customers(project: Project, bundle: Bundle, given: Inputs, by: str | None) -> KnownCustomers:
    root, content = str(project.settings.root), bundle.content_sha256
    if given.source == "training":
        return _training(root, content, project, bundle)
    names = tuple(name for name in (given.policy.value_column, by) if name)
    length = given.window.end - given.window.begin
    return _journal(root, content, given.window.end.replace(second=0, microsecond=0), length, names, project, bundle)


# Results are shared by all sessions and not changed, so they are cached without copies.
@st.cache_resource(show_spinner="Reading outcomes", max_entries=2, ttl=60)
def _journal(
    root: str, content: str, end: datetime, length: Any, names: tuple[str, ...], _project: Project, _bundle: Bundle
) -> KnownCustomers:
    return journal_customers(_project, _bundle, Window(end - length, end), names)


@st.cache_resource(show_spinner="Reading customers", max_entries=2, ttl=60)
def _training(root: str, content: str, _project: Project, _bundle: Bundle) -> KnownCustomers:
    return training_customers(_project, _bundle)
