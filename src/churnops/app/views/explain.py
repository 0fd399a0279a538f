"""Why a customer has this score: a waterfall from the average customer to this one."""

from collections.abc import Sequence

import plotly.graph_objects as go

from churnops.app.risk import Reason
from churnops.app.text import percent
from churnops.app.views.theme import GREY, LOWERS, RAISES, laid_out, safe

AXIS = {
    "probability": "Probability of leaving",
    "log-odds": "Log-odds of leaving (0 is a probability of 50 %; each step of 0.7 doubles or halves the odds)",
}
WRAP = 26


def waterfall(reasons: Sequence[Reason], *, base: float, rest: float | None, scale: str, others: int) -> go.Figure:
    """Return the steps from the model's average over the reasons and all other features to the customer's score.

    Parameters
    ----------
    base
        Where it starts: the model's average, on `scale`.
    rest
        What the `others` features beside the reasons add up to; None leaves them and the sum out.
    scale
        log-odds or probability.
    """
    steps = [(_label(reason), reason.contribution) for reason in reasons]
    if rest is not None and others > 0:
        steps.append((f"{others} other {'feature' if others == 1 else 'features'}", rest))
    measure = ["absolute", *["relative"] * len(steps)]
    labels, values = ["Average customer", *(label for label, _ in steps)], [base, *(value for _, value in steps)]
    text = [_shown(base, scale), *(_signed(value, scale) for _, value in steps)]
    if rest is not None:
        score = base + sum(value for _, value in steps)
        measure.append("total")
        labels, values, text = [*labels, "This customer"], [*values, score], [*text, _shown(score, scale)]
    places = list(range(len(labels)))
    figure = go.Figure(
        go.Waterfall(
            orientation="h", y=places, x=values, measure=measure, text=text, textposition="outside", cliponaxis=False,
            customdata=labels, hovertemplate="%{customdata}<br>%{text}<extra></extra>",
            increasing={"marker": {"color": RAISES}}, decreasing={"marker": {"color": LOWERS}},
            totals={"marker": {"color": GREY}}, connector={"line": {"color": GREY, "width": 1, "dash": "dot"}},
        )
    )  # fmt: skip
    laid_out(figure, height=90 + 44 * len(labels), x=AXIS[scale], legend=False)
    low, high = _span(base, [value for _, value in steps])
    margin = max(high - low, 1e-6) * 0.22  # for the numbers beside the bars
    figure.update_xaxes(
        range=[low - margin, high + margin], nticks=6, tickformat=".0%" if scale == "probability" else ""
    )
    figure.update_yaxes(tickmode="array", tickvals=places, ticktext=labels, autorange="reversed", showgrid=False)
    return figure


def told(reasons: Sequence[Reason], *, base: float, probability: float, scale: str) -> str:
    """Return in a sentence what the waterfall shows."""
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


def _label(reason: Reason) -> str:
    name = reason.name if len(reason.name) <= WRAP else f"{reason.name[: WRAP - 1]}…"
    return f"{safe(name)}<br><b>{safe(reason.value[:WRAP])}</b>" if reason.value else safe(name)


def _signed(value: float, scale: str) -> str:
    word = "raises" if value > 0 else "lowers" if value < 0 else ""
    size = f"{value * 100:+.1f} points" if scale == "probability" else f"{value:+.2f}"
    return f"{size} {word}".strip()


def _shown(value: float, scale: str) -> str:
    return percent(min(max(value, 0.0), 1.0)) if scale == "probability" else f"log-odds {value:.2f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
