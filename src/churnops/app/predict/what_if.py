"""The section *What if* of the Predict page: the smallest change that is enough, and controls that score again."""

from collections.abc import Mapping, Sequence
from math import isnan

import streamlit as st

from churnops.app.predict.answers import Answer, Card, Customer
from churnops.app.predict.form import Lever, encoded, levers
from churnops.app.predict.risk import level
from churnops.app.shared.text import one_line, plain
from churnops.decision.what_if import actionable, smallest_change
from churnops.model import Bundle
from churnops.schema import Column, Schema
from churnops.words import percent, title, with_unit

HELP = (
    "The inputs with the largest effect on this customer's probability, each in the range of most customers. Features "
    "that are computed from them change with them."
)
MODEL_ONLY = "This describes the model, not causes: a real change may have another effect."


def vary(given: Customer, answer: Answer, card: Card, local: Bundle | None, declared: Schema) -> None:
    """Show the smallest change and the sliders if the model of the prediction is on this machine.

    `declared` is the present Schema of the settings, which decides what is actionable.
    """
    st.divider()
    st.header("What if", help=HELP)
    if local is None or answer.version != local.version_name:
        st.info("There are no sliders: the model of this prediction is not in `models/production` on this machine.")
        return
    columns = encoded(given, card.schema)
    inputs = {column.name: float(columns[column.name][0]) for column in card.schema.model_inputs}
    names = actionable(local.schema, declared)
    st.text(proposal(local, inputs, names, card.threshold))
    st.caption(MODEL_ONLY)
    _what_if(local, inputs, answer.probability, levers(local, inputs, names), card.threshold)


def proposal(bundle: Bundle, inputs: Mapping[str, float], names: Sequence[str], threshold: float) -> str:
    """Return the smallest change of some columns in words, or the reason why there is none."""
    if not names:
        return "No change is proposed: config.yaml declares no column as actionable."
    columns = bundle.schema.by_name
    titles = {name: one_line(title(columns[name])) for name in names if not isnan(inputs[name])}
    if not titles:
        return "No change is proposed: the values that people can change are not known for this customer."
    result = smallest_change(bundle, inputs, [*titles], threshold)
    if result.below and not result.changes:
        return f"The probability is below the threshold of {percent(threshold)} already."
    if not result.below:
        return (
            f"No change that was tried brings the probability below the threshold of {percent(threshold)}. The lowest "
            f"is {percent(result.probability)}. Tried: {', '.join(titles.values())}."
        )
    changes = "; ".join(
        f"{titles[change.name]}: {_shown(columns[change.name], change.before)} → "
        f"{_shown(columns[change.name], change.after)}"
        for change in result.changes
    )
    return (
        f"The smallest change that brings the probability below the threshold of {percent(threshold)}, to "
        f"{percent(result.probability)}. {changes}."
    )


def _shown(column: Column, value: float) -> str:
    text = column.levels[int(value)] if column.choices else with_unit(column.text(value), column.unit)
    return one_line(text)


@st.fragment
def _what_if(
    bundle: Bundle, inputs: Mapping[str, float], before: float, offered: Sequence[Lever], threshold: float
) -> None:
    """Score again after each move of a slider, without the API; the rest of the page stays as it is."""
    if not offered:
        st.text("There are no sliders: no value that the model reads is known for this customer and can be varied.")
        return
    left, right = st.columns([5, 6], gap="large")
    moved = dict(inputs)
    identity = hash(repr(inputs))  # as text, a missing number (NaN) equals itself
    with left:
        for lever in offered:
            moved[lever.name] = _slider(lever, f"predict:what-if:{identity}:{lever.name}")
        st.button("Back to the customer", on_click=_reset, args=(offered, identity))
    after = bundle.answer(moved).probability
    risk, points = level(after, threshold), (after - before) * 100
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
            changes = "; ".join(f"{one.label} {one.text(one.value)} → {one.text(moved[one.name])}" for one in changed)
            st.text(f"From {percent(before)} to {percent(after)}. {changes}.")
        else:
            st.text("Move a slider to see the new probability.")
        st.caption("Computed here with the deployed model; nothing is recorded.")


def _slider(lever: Lever, key: str) -> float:
    low, high, value, step = lever.minimum, lever.maximum, lever.value, lever.step
    label = plain(lever.label)
    if lever.levels:
        codes = [*lever.levels]
        shown = st.selectbox(
            label, codes, codes.index(value), format_func=lambda code: one_line(lever.levels[code]), key=key
        )
        return float(shown)
    if lever.whole:
        return float(st.slider(label, int(low), int(high), int(value), int(step), key=key))
    return float(st.slider(label, low, high, value, step, format="%.6g", key=key))


def _reset(offered: Sequence[Lever], identity: int) -> None:
    for lever in offered:
        st.session_state[f"predict:what-if:{identity}:{lever.name}"] = int(lever.value) if lever.whole else lever.value
