"""Reasons for a score: a waterfall from the average customer to this one."""

from collections.abc import Sequence

import plotly.graph_objects as go

from churnops.app.predict.risk import Reason
from churnops.app.shared.text import points
from churnops.app.shared.theme import GREY, LOWERS, RAISES, laid_out, safe
from churnops.words import percent

AXIS = {
    "probability": "Probability of leaving",
    "log-odds": "Log-odds of leaving: 0 is a probability of 50 %",
}
WRAP = 36


def waterfall(reasons: Sequence[Reason], *, base: float, rest: float | None, scale: str, others: int) -> go.Figure:
    """Draw the steps from the model's average through the reasons and all other features to the customer's score.

    Parameters
    ----------
    base
        Start: the model's average, on `scale`.
    rest
        Total contribution of the `others` features; None omits their bar and the final score.
    scale
        log-odds or probability.
    """
    steps = [(_label(reason, scale), reason.contribution) for reason in reasons]
    if rest is not None and others > 0:
        name = f"{others} other {'feature' if others == 1 else 'features'}"
        steps.append((_two_lines(name, _change(rest, scale)), rest))
    measure = ["absolute", *["relative"] * len(steps)]
    labels = [_two_lines("Average customer", _shown(base, scale)), *(label for label, _ in steps)]
    values = [base, *(value for _, value in steps)]
    if rest is not None:
        score = base + sum(value for _, value in steps)
        measure.append("total")
        labels, values = [*labels, _two_lines("This customer", _shown(score, scale))], [*values, score]
    places = list(range(len(labels)))
    figure = go.Figure(
        go.Waterfall(
            orientation="h",
            y=places,
            x=values,
            measure=measure,
            customdata=labels,
            hovertemplate="%{customdata}<extra></extra>",
            increasing={"marker": {"color": RAISES}},
            decreasing={"marker": {"color": LOWERS}},
            totals={"marker": {"color": GREY}},
            connector={"line": {"color": GREY, "width": 1, "dash": "dot"}},
        )
    )
    laid_out(figure, height=90 + 46 * len(labels), x=AXIS[scale], legend=False)
    low, high = _span(base, [value for _, value in steps])
    margin = max(high - low, 1e-6) * 0.04
    percents = {"tickformat": ".0%"} if scale == "probability" else {}
    figure.update_xaxes(range=[low - margin, high + margin], nticks=6, **percents)
    # A bar's effect stands below its name: a phone has no room for it beside the bar.
    figure.update_yaxes(
        tickmode="array", tickvals=places, ticktext=labels, autorange="reversed", showgrid=False, zeroline=False
    )
    return figure


def summary(reasons: Sequence[Reason], *, base: float, probability: float, scale: str) -> str:
    """Describe the waterfall in a sentence."""
    raising = [reason.name for reason in reasons if reason.contribution > 0]
    lowering = [reason.name for reason in reasons if reason.contribution < 0]
    parts = [f"From the average customer ({_shown(base, scale)}) to this one ({percent(probability)})"]
    if raising:
        parts.append(f"raised most by {_and(raising[:3])}")
    if lowering:
        parts.append(f"lowered most by {_and(lowering[:3])}")
    return ", ".join(parts) + "."


def _span(base: float, steps: Sequence[float]) -> tuple[float, float]:
    reached, low, high = base, min(base, 0.0), max(base, 0.0)
    for step in steps:
        reached += step
        low, high = min(low, reached), max(high, reached)
    return low, high


def _label(reason: Reason, scale: str) -> str:
    name = f"{reason.name} {reason.value}" if reason.value else reason.name
    return _two_lines(name if len(name) <= WRAP else f"{name[: WRAP - 1]}…", _change(reason.contribution, scale))


def _two_lines(name: str, below: str) -> str:
    return f"{safe(name)}<br><b>{safe(below)}</b>"


def _change(value: float, scale: str) -> str:
    if not value:
        return "no effect"
    size = points(value) if scale == "probability" else f"{abs(value):.2f}"
    return f"{'raises' if value > 0 else 'lowers'} by {size}"


def _shown(value: float, scale: str) -> str:
    return percent(min(max(value, 0.0), 1.0)) if scale == "probability" else f"log-odds {value:.2f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
