"""Campaign planning on the Analysis page: customers reached, and profit of an offer."""

import numpy as np
import streamlit as st

from churnops.app.analysis.offer_figures import gain_figure, lift_figure, profit_figure, shown_positions
from churnops.app.analysis.source import Source
from churnops.app.shared.show import note, place, say
from churnops.app.shared.text import plain
from churnops.app.shared.use_policy import use_this
from churnops.decision.in_force import newest_policy
from churnops.decision.policy import DecisionPolicy
from churnops.decision.profit import Offer, Proposal, advice, propose
from churnops.project import Project
from churnops.words import percent


@st.fragment
def reach(source: Source) -> None:
    """Show lift and gain of a campaign of a given size."""
    ranking, _ = source.ranked
    percentage = st.slider(
        "Share of customers you can contact (%)",
        1,
        100,
        10,
        key="share",
        persist_state="session",
        help="Customers with the highest scores are contacted first.",
    )
    share = percentage / 100
    reached = float(ranking.reached(share))
    sentence = (
        f"The {percent(share)} of customers with the highest scores include {percent(reached)} of the customers "
        f"who leave: {reached / share:.1f} times as many as a random choice."
    )
    say(sentence)
    left, right = st.columns(2)
    with left:
        st.header("Gain")
        place(gain_figure(ranking, share, source.bundle.threshold), sentence)
    with right:
        st.header("Lift")
        place(lift_figure(ranking, share), sentence)
    note(
        "Gain: share of the leaving customers who are contacted. Lift: that share divided by the share of all "
        "customers who are contacted; a lift of 1 is no better than a random choice."
    )


@st.fragment
def offer(source: Source, project: Project) -> None:
    """Show the profit of an offer and its best threshold, and let an administrator use it."""
    ranking, resamples = source.ranked
    chosen = _offer(newest_policy(project.policies))
    proposal = propose(ranking, resamples, chosen, source.bundle.threshold, source.confidence)
    sentence = advice(proposal)
    st.info(plain(sentence, limit=1000))
    _numbers(proposal)
    positions = shown_positions(proposal)
    low, high = (band / ranking.rows * 1000 for band in resamples.band(proposal.offer, positions, source.confidence))
    place(profit_figure(proposal, positions, low, high, source.confidence), sentence)
    note(
        "Expected profit = leaving customers contacted × share of offers that work × value − all customers contacted × "
        "cost. "
        f"With exact probabilities, a contact pays {_break_even(proposal.offer)}."
    )
    if proposal.setting is not None:
        terms = {
            "threshold": proposal.setting,
            "cost": chosen.cost,
            "value": chosen.value,
            "success_rate": chosen.success,
        }
        use_this(project, terms, f"the threshold {proposal.setting:g} with this cost, value and success rate")
    with st.expander("Statistics"):
        note(
            f"The band is a bootstrap interval ({percent(source.confidence)}) at each threshold. "
            + _gain(proposal, source.confidence)
        )


def _offer(policy: DecisionPolicy) -> Offer:
    """Let the user state the offer; it begins with the numbers of the decision policy."""
    stated = policy.value if isinstance(policy.value, float) else None
    columns = st.columns(3)
    cost = columns[0].number_input(
        "Cost of contacting a customer",
        0.0,
        1e9,
        _first(policy.cost, 10.0),
        step=1.0,
        key="cost",
        persist_state="session",
        help="Paid for each contacted customer: the call and the discount.",
    )
    value = columns[1].number_input(
        "Value of keeping a customer",
        0.0,
        1e9,
        _first(stated, 200.0),
        step=10.0,
        key="value",
        persist_state="session",
        help="Value of a customer who stays, in the currency of the cost.",
    )
    success = columns[2].number_input(
        "Offers that work (%)",
        0.0,
        100.0,
        100 * _first(policy.success_rate, 0.25),
        step=5.0,
        key="success",
        persist_state="session",
        help="Of 100 leaving customers who get the offer, the number who stay.",
    )
    return Offer(cost, value, success / 100)


def _first(stated: float | None, otherwise: float) -> float:
    return otherwise if stated is None else min(stated, 1e9)


def _numbers(proposal: Proposal) -> None:
    """Show the proposal's numbers, compared with those of the deployed threshold."""
    best, deployed = proposal.profit[proposal.best], proposal.profit[proposal.deployed]
    shown = st.columns(4)
    shown[0].metric(
        "Best threshold",
        _threshold(proposal),
        border=True,
        help=f"Threshold with the highest expected profit. In force: {proposal.threshold:g}.",
    )
    shown[1].metric(
        "Contacted of 1,000",
        f"{proposal.contacted(proposal.best):,.0f}",
        border=True,
        help=f"Customers at or above the best threshold. In force: {proposal.contacted(proposal.deployed):,.0f}.",
    )
    shown[2].metric(
        "Profit per 1,000",
        f"{best:,.0f}",
        border=True,
        help=f"Expected profit of the best threshold. In force: {deployed:,.0f}.",
    )
    shown[3].metric(
        "Corrected gain",
        f"{proposal.gain.value:,.0f}",
        border=True,
        help="Expected gain per 1,000 customers over the threshold in force. It is less than the difference of the "
        "profits, because the best threshold was chosen on these customers (see Statistics).",
    )


def _gain(proposal: Proposal, confidence: float) -> str:
    gain = proposal.gain
    return (
        f"The gain over the threshold in force is {gain.value:,.0f} ({percent(confidence)} interval: {gain.low:,.0f} "
        f"to {gain.high:,.0f}). A threshold looks too good on the customers it was chosen on; this optimism is "
        "subtracted, so the gain is smaller than the difference of the profits."
    )


def _threshold(proposal: Proposal) -> str:
    if proposal.ranking.contacted[proposal.best] == 0:
        return "contact nobody"
    if proposal.setting is None:
        return "contact all" if proposal.best == 0 else "contact the top"
    return np.format_float_positional(proposal.setting, min_digits=2)


def _break_even(offer: Offer) -> str:
    at = offer.break_even
    if at > 1:
        return "at no probability"
    return f"from a probability of {at:.2g} (cost ÷ (value × share of offers that work))"
