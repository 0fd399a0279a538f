"""Figures of the Models page: times in production, and gains of challengers."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import plotly.graph_objects as go

from churnops.app.models.history import Comparison, clock, model_name, since_words
from churnops.app.shared.theme import BLUE, GREEN, GREY, ORANGE, RED, laid_out, safe
from churnops.journal.deployment_log import KIND_LABELS, InProduction

MAX_PERIODS, MAX_GAINS = 30, 12
_STATES = {"in production now": BLUE, "earlier": GREY}
_VERDICTS = {
    "deploy": (GREEN, "circle"),
    "keep": (GREY, "square"),
    "cannot tell": (ORANGE, "diamond"),
}


def timeline(periods: Sequence[InProduction], now: datetime) -> go.Figure:
    """Draw the periods in production as bars, a row for each version, the newest at the top.

    Parameters
    ----------
    periods
        Oldest first; the last one is the deployed model's. Only the newest 30 are shown.
    """
    shown = periods[-MAX_PERIODS:]
    figure = go.Figure()
    for name, colour in _STATES.items():
        group = [period for period in shown if (period.until is None) == (name == "in production now")]
        if not group:
            continue
        spans = [max(((period.until or now) - period.deployment.at).total_seconds(), 0.0) * 1000 for period in group]
        figure.add_bar(
            orientation="h",
            name=name,
            y=[_row(period) for period in group],
            x=spans,
            base=[period.deployment.at for period in group],
            marker={"color": colour, "line": {"width": 0}},
            width=0.5,
            showlegend=False,
            text=[_period_text(period, now) for period in group],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    for kind, (symbol, colour) in {"deploy": ("circle", GREEN), "rollback": ("diamond", RED)}.items():
        group = [period for period in shown if period.deployment.kind == kind]
        if group:
            figure.add_scatter(
                mode="markers",
                name=KIND_LABELS[kind],
                y=[_row(period) for period in group],
                x=[period.deployment.at for period in group],
                marker={"symbol": symbol, "color": colour, "size": 10, "line": {"width": 1, "color": "white"}},
                text=[_period_text(period, now) for period in group],
                hovertemplate="%{text}<extra></extra>",
            )
    rows = sorted({(period.deployment.version, _row(period)) for period in shown})
    _low(laid_out(figure, height=140 + 36 * max(len(rows), 1), x="Time (UTC)"))
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(type="date")
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=[row for _, row in rows])
    return figure


def gains(comparisons: Sequence[Comparison]) -> go.Figure:
    """Draw the gains of challengers with their bounds, against no gain and the required gain.

    Parameters
    ----------
    comparisons
        Newest first; at most 12 are drawn. Comparisons on another metric than the newest, or without a gain, are not.
    """
    shown = comparable(comparisons)
    figure = go.Figure()
    rows = [clock(c.at) for c in shown]
    numbered = [f"{row}{' ' * shown_before}" for row, shown_before in zip(rows, _repeats(rows), strict=True)]
    for verdict, (colour, symbol) in _VERDICTS.items():
        group = [(row, c) for row, c in zip(numbered, shown, strict=True) if c.verdict == verdict]
        if not group:
            continue
        figure.add_scatter(
            mode="markers",
            name=verdict,
            y=[row for row, _ in group],
            x=[c.gain for _, c in group],
            error_x={
                "type": "data",
                "symmetric": False,
                "thickness": 2,
                "width": 6,
                "color": colour,
                "array": [_arm(c.high, c.gain) for _, c in group],
                "arrayminus": [_arm(c.gain, c.low) for _, c in group],
            },
            marker={"symbol": symbol, "color": colour, "size": 11},
            text=[_gain_text(c) for _, c in group],
            hovertemplate="%{text}<extra></extra>",
        )
    required = [
        (row, c.min_improvement) for row, c in zip(numbered, shown, strict=True) if c.min_improvement is not None
    ]
    if required:
        figure.add_scatter(
            mode="markers",
            name="required gain",
            y=[row for row, _ in required],
            x=[x for _, x in required],
            marker={"symbol": "line-ns-open", "color": RED, "size": 18, "line": {"width": 2}},
            hovertemplate="required: %{x:.4g}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": GREY, "dash": "dash"})
    metric = shown[0].metric if shown else ""
    _low(laid_out(figure, height=170 + 36 * max(len(shown), 1), x=f"Gain in {metric}" if metric else "Gain"))
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=numbered[::-1])
    return figure


def comparable(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons that `gains` draws: all of one metric, so that gains can be compared."""
    known = [c for c in comparisons if c.gain is not None and c.verdict in _VERDICTS]
    return [c for c in known if c.metric == known[0].metric][:MAX_GAINS]


def _low(figure: go.Figure) -> None:
    """Leave room for the legend above a low figure."""
    figure.update_layout(margin={"t": 48}, legend={"y": 1.0, "yanchor": "bottom"})


def _row(period: InProduction) -> str:
    return f"Version {period.deployment.version}"


def _period_text(period: InProduction, now: datetime) -> str:
    d = period.deployment
    until = clock(period.until) if period.until else "now"
    return (
        f"Version {d.version} ({safe(model_name(d)[:60])}), {KIND_LABELS.get(d.kind, 'deployed')}<br>"
        f"{clock(d.at)} to {until} ({since_words((period.until or now) - d.at)})<br>by {safe((d.by or 'unknown')[:80])}"
    )


def _gain_text(c: Comparison) -> str:
    bounds = "" if c.low is None or c.high is None else f"<br>at least {c.low:.4f}, at most {c.high:.4f}"
    rows = "" if c.rows is None else f"<br>{c.rows:,} customers"
    return f"{clock(c.at)}: {safe(c.verdict)}, {safe(c.challenger[:60])}<br>gain {c.gain or 0.0:.4f}{bounds}{rows}"


def _arm(end: float | None, start: float | None) -> float:
    return max(end - start, 0.0) if end is not None and start is not None else 0.0


def _repeats(rows: Sequence[str]) -> list[int]:
    """Return how often each row's name occurred before: as many blanks after the name make it unique."""
    seen: Counter[str] = Counter()
    repeats = []
    for row in rows:
        repeats.append(seen[row])
        seen[row] += 1
    return repeats
