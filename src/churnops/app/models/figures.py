"""Figures of the Models page: what was in production when, and how large the gains of challengers were."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import plotly.graph_objects as go

from churnops.app.models.history import Comparison, clock, model_name, since_words
from churnops.app.shared.theme import BLUE, GREEN, GREY, ORANGE, RED, laid_out, safe
from churnops.journal.deployment_log import KIND_LABELS, InProduction

MOST_SPELLS, MOST_GAINS = 30, 12
_SPELLS = {"answers now": BLUE, "earlier": GREY}
_VERDICTS = {
    "deploy": (GREEN, "circle"),
    "keep": (GREY, "square"),
    "cannot tell": (ORANGE, "diamond"),
}


def timeline(spells: Sequence[InProduction], now: datetime) -> go.Figure:
    """Return what was in production from when to when, a row for each version, the newest at the top.

    Parameters
    ----------
    spells
        Oldest first; the last one answers now. Only the newest 30 are shown.
    """
    shown = spells[-MOST_SPELLS:]
    figure = go.Figure()
    for name, colour in _SPELLS.items():
        mine = [spell for spell in shown if (spell.until is None) == (name == "answers now")]
        if not mine:
            continue
        spans = [max(((spell.until or now) - spell.deployment.at).total_seconds(), 0.0) * 1000 for spell in mine]
        figure.add_bar(
            orientation="h",
            name=name,
            y=[_row(spell) for spell in mine],
            x=spans,
            base=[spell.deployment.at for spell in mine],
            marker={"color": colour, "line": {"width": 0}},
            width=0.5,
            showlegend=False,
            text=[_told(spell, now) for spell in mine],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    for kind, (symbol, colour) in {"deploy": ("circle", GREEN), "rollback": ("diamond", RED)}.items():
        mine = [spell for spell in shown if spell.deployment.kind == kind]
        if mine:
            figure.add_scatter(
                mode="markers",
                name=KIND_LABELS[kind],
                y=[_row(spell) for spell in mine],
                x=[spell.deployment.at for spell in mine],
                marker={"symbol": symbol, "color": colour, "size": 10, "line": {"width": 1, "color": "white"}},
                text=[_told(spell, now) for spell in mine],
                hovertemplate="%{text}<extra></extra>",
            )
    rows = sorted({(spell.deployment.version, _row(spell)) for spell in shown})
    _low(laid_out(figure, height=140 + 36 * max(len(rows), 1), x="Time (UTC)"))
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(type="date")
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=[row for _, row in rows])
    return figure


def gains(comparisons: Sequence[Comparison]) -> go.Figure:
    """Return the gains of challengers with their bounds, against no gain and the gain asked for.

    Parameters
    ----------
    comparisons
        Newest first. Those of another metric than the newest, or without a gain, are left out; at most 12 are shown.
    """
    shown = comparable(comparisons)
    figure = go.Figure()
    rows = [clock(c.at) for c in shown]
    numbered = [f"{row}{' ' * shown_before}" for row, shown_before in zip(rows, _repeats(rows), strict=True)]
    for verdict, (colour, symbol) in _VERDICTS.items():
        mine = [(row, c) for row, c in zip(numbered, shown, strict=True) if c.verdict == verdict]
        if not mine:
            continue
        figure.add_scatter(
            mode="markers",
            name=verdict,
            y=[row for row, _ in mine],
            x=[c.gain for _, c in mine],
            error_x={
                "type": "data",
                "symmetric": False,
                "thickness": 2,
                "width": 6,
                "color": colour,
                "array": [_arm(c.high, c.gain) for _, c in mine],
                "arrayminus": [_arm(c.gain, c.low) for _, c in mine],
            },
            marker={"symbol": symbol, "color": colour, "size": 11},
            text=[_gain_told(c) for _, c in mine],
            hovertemplate="%{text}<extra></extra>",
        )
    asked = [(row, c.min_improvement) for row, c in zip(numbered, shown, strict=True) if c.min_improvement is not None]
    if asked:
        figure.add_scatter(
            mode="markers",
            name="gain asked for",
            y=[row for row, _ in asked],
            x=[x for _, x in asked],
            marker={"symbol": "line-ns-open", "color": RED, "size": 18, "line": {"width": 2}},
            hovertemplate="asked for: %{x:.4g}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": GREY, "dash": "dash"})
    metric = shown[0].metric if shown else ""
    _low(laid_out(figure, height=170 + 36 * max(len(shown), 1), x=f"Gain in {metric}" if metric else "Gain"))
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=numbered[::-1])
    return figure


def comparable(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return those that `gains` shows: of one metric, which gains can be put side by side in."""
    told = [c for c in comparisons if c.gain is not None and c.verdict in _VERDICTS]
    return [c for c in told if c.metric == told[0].metric][:MOST_GAINS]


def _low(figure: go.Figure) -> None:
    """Keep the legend clear of a figure that is not high."""
    figure.update_layout(margin={"t": 48}, legend={"y": 1.0, "yanchor": "bottom"})


def _row(spell: InProduction) -> str:
    return f"Version {spell.deployment.version}"


def _told(spell: InProduction, now: datetime) -> str:
    d = spell.deployment
    until = clock(spell.until) if spell.until else "now"
    return (
        f"Version {d.version} ({safe(model_name(d)[:60])}), {KIND_LABELS.get(d.kind, 'deployed')}<br>"
        f"{clock(d.at)} to {until} ({since_words((spell.until or now) - d.at)})<br>by {safe((d.by or 'unknown')[:80])}"
    )


def _gain_told(c: Comparison) -> str:
    bounds = "" if c.low is None or c.high is None else f"<br>at least {c.low:.4f}, at most {c.high:.4f}"
    rows = "" if c.rows is None else f"<br>{c.rows:,} customers"
    return f"{clock(c.at)}: {safe(c.verdict)}, {safe(c.challenger[:60])}<br>gain {c.gain or 0.0:.4f}{bounds}{rows}"


def _arm(end: float | None, start: float | None) -> float:
    return max(end - start, 0.0) if end is not None and start is not None else 0.0


def _repeats(rows: Sequence[str]) -> list[int]:
    """Return how often each row came before: a blank more makes equal names different rows."""
    seen: Counter[str] = Counter()
    repeats = []
    for row in rows:
        repeats.append(seen[row])
        seen[row] += 1
    return repeats
