"""Figures of the Policy page: profit by number of contacts, by budget and by segment."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from churnops.app.shared.theme import BLUE, GREEN, GREY, ORANGE, laid_out, legend_above, mark, safe
from churnops.decision.choice import Choice, Profit
from churnops.words import percent

BAND = "rgba(0,114,178,0.18)"
ROW, MAX_LABEL = 30, 34
"""Pixels of a bar, and letters of its name."""


def contacts_figure(choice: Choice, currency: str) -> go.Figure:
    """Draw profit by number of contacts, with the policy in force and the best point."""
    figure = _curve(choice.curve, [one.contacts for one in choice.curve], choice.confidence)
    named = [
        f"from a probability of {percent(float(one.name))}" if _is_number(one.name) else one.name or "everyone"
        for one in choice.curve
    ]
    figure.data[-1].update(text=named, hovertemplate="%{x:,} contacts (%{text})<br>profit %{y:,.0f}<extra></extra>")
    mark(figure, (choice.in_force.contacts, choice.in_force.profit), "in force", ORANGE, "diamond")
    mark(figure, (choice.best.contacts, choice.best.profit), "best", GREEN, "circle-open")
    return _finished(figure, "Customers contacted", currency)


def budget_figure(choice: Choice, cost: float, currency: str) -> go.Figure:
    """Draw profit by budget."""
    money = [one.contacts * cost for one in choice.budgets]
    figure = _curve(choice.budgets, money, choice.confidence, "lines+markers")
    figure.data[-1].update(
        text=[f"{one.contacts:,}" for one in choice.budgets],
        hovertemplate="budget %{x:,.0f}: %{text} contacts<br>profit %{y:,.0f}<extra></extra>",
    )
    return _finished(figure, f"Budget {currency}".strip(), currency)


def segments_figure(segments: Sequence[Profit], currency: str) -> go.Figure:
    """Draw a bar with its interval for each segment, the highest profit at the top."""
    shown = sorted(segments, key=lambda one: one.profit)
    figure = go.Figure(
        go.Bar(
            x=[one.profit for one in shown],
            y=[safe(f"{one.name[:MAX_LABEL]} ({one.contacts:,})") for one in shown],
            orientation="h",
            marker_color=BLUE,
            error_x={
                "type": "data",
                "array": [one.high - one.profit for one in shown],
                "arrayminus": [one.profit - one.low for one in shown],
                "color": GREY,
            },
            hovertemplate="%{y}: %{x:,.0f}<extra></extra>",
        )
    )
    figure.update_yaxes(type="category")
    return laid_out(figure, height=90 + ROW * len(shown), x=f"Profit {currency}".strip(), legend=False)


def _curve(points: Sequence[Profit], x: Sequence[float], confidence: float, mode: str = "lines") -> go.Figure:
    figure = go.Figure()
    edge: dict[str, Any] = {"x": x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_scatter(y=[one.low for one in points], showlegend=False, **edge)
    figure.add_scatter(
        y=[one.high for one in points],
        fill="tonexty",
        fillcolor=BAND,
        name=f"{percent(confidence)} interval",
        **edge,
    )
    figure.add_scatter(
        x=x, y=[one.profit for one in points], mode=mode, line={"color": BLUE, "width": 2}, name="profit"
    )
    return figure


def _finished(figure: go.Figure, x: str, currency: str) -> go.Figure:
    legend_above(laid_out(figure, height=380, x=x, y=f"Profit {currency}".strip()))
    figure.update_xaxes(tickformat=",", rangemode="tozero")
    figure.update_yaxes(tickformat=",")
    return figure


def _is_number(name: str) -> bool:
    return name[:1].isdigit()
