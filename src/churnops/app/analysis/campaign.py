"""The analysis page's sections for planning a campaign: whom it reaches, and what an offer brings."""

import numpy as np
import streamlit as st

from churnops.app.analysis.offer_figures import gain_figure, lift_figure, profit_figure, shown_positions
from churnops.app.analysis.profit import Offer, Proposal, advice, propose
from churnops.app.analysis.source import Source, note, place, say
from churnops.app.shared.text import percent, plain


@st.fragment
def reach(source: Source) -> None:
    """Show lift and gain: whom a campaign of a given size reaches."""
    ranking, _ = source.ranked
    percentage = st.slider(
        "Share of customers you can contact (%)",
        1,
        100,
        10,
        key="share",
        persist_state="session",
        help="Those with the highest scores are contacted first.",
    )
    share = percentage / 100
    reached = float(ranking.reached(share))
    sentence = (
        f"The {percent(share)} of customers with the highest scores hold {percent(reached)} of those who leave: "
        f"{reached / share:.1f} times as many as if picked at random."
    )
    say(sentence)
    left, right = st.columns(2)
    with left:
        st.subheader("Gain")
        place(gain_figure(ranking, share, source.bundle.threshold), sentence)
    with right:
        st.subheader("Lift")
        place(lift_figure(ranking, share), sentence)
    note(
        "Gain: which part of those who leave is among the customers contacted. Lift: how many times more that is than "
        "by chance; 1 means no better than chance."
    )


@st.fragment
def offer(source: Source) -> None:
    """Show what an offer brings, and from which threshold on to make it."""
    ranking, resamples = source.ranked
    found = propose(ranking, resamples, _offer(), source.bundle.threshold, source.confidence)
    sentence = advice(found)
    st.info(plain(sentence, most=1000))
    _numbers(found, source.confidence)
    positions = shown_positions(found)
    low, high = (band / ranking.rows * 1000 for band in resamples.band(found.offer, positions, source.confidence))
    place(profit_figure(found, positions, low, high, source.confidence), sentence)
    note(
        "Expected profit = those contacted who would leave × offers that work × value − all contacted × cost. If the "
        f"probabilities were exact, contacting would pay {_break_even(found.offer)}. The band is a bootstrap interval "
        f"({source.confidence:.0%}) at each threshold."
    )
    note(
        "This page changes nothing. A model gets its threshold when it is trained (churnops run or churnops retrain). "
        "Another threshold does not rank customers better, so the gate does not let such a model through by itself: "
        "put it into production with churnops promote VERSION --force."
    )


def _offer() -> Offer:
    columns = st.columns(3)
    cost = columns[0].number_input(
        "Cost of contacting a customer",
        0.0,
        1e9,
        10.0,
        step=1.0,
        key="cost",
        persist_state="session",
        help="Paid for everybody who is contacted: the call and the discount.",
    )
    value = columns[1].number_input(
        "Value of keeping a customer",
        0.0,
        1e9,
        200.0,
        step=10.0,
        key="value",
        persist_state="session",
        help="What a customer who stays is worth to you, in the same currency as the cost.",
    )
    success = columns[2].number_input(
        "Offers that work (%)",
        0.0,
        100.0,
        25.0,
        step=5.0,
        key="success",
        persist_state="session",
        help="Of 100 customers who would have left and get the offer, how many stay.",
    )
    return Offer(cost, value, success / 100)


def _numbers(found: Proposal, confidence: float) -> None:
    """Show the proposal's numbers, each beside that of the deployed threshold."""
    best, deployed = found.profit[found.best], found.profit[found.deployed]
    shown = st.columns(4)
    shown[0].metric(
        "Best threshold",
        _threshold(found),
        border=True,
        help=f"The one with the highest expected profit. Deployed: {found.threshold:g}.",
    )
    shown[1].metric(
        "Contacted of 1,000",
        f"{found.contacted(found.best):,.0f}",
        border=True,
        help=f"Customers that the best threshold contacts. Deployed: {found.contacted(found.deployed):,.0f}.",
    )
    shown[2].metric(
        "Profit per 1,000",
        f"{best:,.0f}",
        border=True,
        help=f"What the best threshold brings on these customers. Deployed: {deployed:,.0f}.",
    )
    shown[3].metric(
        "Gain over deployed",
        f"{found.gain.value:,.0f}",
        border=True,
        help=f"{confidence:.0%} interval: {found.gain.low:,.0f} to {found.gain.high:,.0f}. Less than the difference of "
        "the profits: a threshold that was picked on customers looks better on them than it is, which is taken off.",
    )


def _threshold(found: Proposal) -> str:
    if found.ranking.contacted[found.best] == 0:
        return "contact nobody"
    if found.setting is None:
        return "contact all" if found.best == 0 else "the top only"
    return np.format_float_positional(found.setting, min_digits=2)


def _break_even(offer: Offer) -> str:
    at = offer.break_even
    return "at no probability" if at > 1 else f"from a probability of {at:.2g} on (cost ÷ (value × offers that work))"
