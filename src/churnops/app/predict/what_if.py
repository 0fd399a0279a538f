"""Sliders of the Predict page: a moved slider scores the customer again and redraws only sliders and result."""

from collections.abc import Mapping, Sequence

import streamlit as st

from churnops.app.predict.answers import Answer, Card, Customer
from churnops.app.predict.form import Lever, encoded, levers
from churnops.app.predict.risk import level
from churnops.app.shared.text import number, plain
from churnops.model import Bundle
from churnops.words import percent

HELP = (
    "Sliders for the numbers with the largest effect on this customer's probability, each in the range of most "
    "customers. Features that are computed from these numbers change with them. This shows the model's behaviour, not "
    "the effect of a real change."
)


def vary(given: Customer, answer: Answer, card: Card, local: Bundle | None) -> None:
    """Show sliders if the model of the prediction is on this machine."""
    st.divider()
    st.header("What if", help=HELP)
    if local is None or answer.version != local.version_name:
        st.info("There are no sliders: the model of this prediction is not in `models/production` on this machine.")
        return
    columns = encoded(given, card.schema)
    inputs = {column.name: float(columns[column.name][0]) for column in card.schema.model_inputs}
    _what_if(local, inputs, answer.probability, levers(local, inputs))


@st.fragment
def _what_if(bundle: Bundle, inputs: Mapping[str, float], before: float, offered: Sequence[Lever]) -> None:
    """Score again after each move of a slider, without the API; the rest of the page stays as it is."""
    if not offered:
        st.text("There are no sliders: no number that the model reads is known for this customer and can be varied.")
        return
    left, right = st.columns([5, 6], gap="large")
    moved = dict(inputs)
    identity = hash(repr(inputs))  # as text, a missing number (NaN) equals itself
    with left:
        for lever in offered:
            moved[lever.name] = _slider(lever, f"predict:what-if:{identity}:{lever.name}")
        st.button("Back to the customer", on_click=_reset, args=(offered, identity))
    after = bundle.answer(moved).probability
    risk, points = level(after, bundle.threshold), (after - before) * 100
    changed = [lever for lever in offered if moved[lever.name] != lever.value]
    with right:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.metric(
                "Probability with these values",
                percent(after),
                f"{points:+.1f} points" if changed else None,
                delta_color="inverse",
                width="content",
            )
            st.badge(risk.word, color=risk.colour)  # type: ignore[arg-type]
        if changed:
            changes = "; ".join(f"{one.label} {number(one.value)} → {number(moved[one.name])}" for one in changed)
            st.text(f"From {percent(before)} to {percent(after)}. {changes}.")
        else:
            st.text("Move a slider to see the new probability.")
        st.caption("Computed here with the deployed model; nothing is recorded.")


def _slider(lever: Lever, key: str) -> float:
    low, high, value, step = lever.minimum, lever.maximum, lever.value, lever.step
    label = plain(lever.label)
    if lever.whole:
        return float(st.slider(label, int(low), int(high), int(value), int(step), key=key))
    return float(st.slider(label, low, high, value, step, format="%.6g", key=key))


def _reset(offered: Sequence[Lever], identity: int) -> None:
    for lever in offered:
        st.session_state[f"predict:what-if:{identity}:{lever.name}"] = int(lever.value) if lever.whole else lever.value
