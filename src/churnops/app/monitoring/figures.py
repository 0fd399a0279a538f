"""Figures of the Monitoring page: measures over time, ROC-AUC and levels for comparison, columns before and now."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from churnops.app.monitoring.series import Point
from churnops.app.shared.theme import BLUE, CURRENT, GREY, ORANGE, REFERENCE, laid_out, safe
from churnops.data.profile import ColumnProfile
from churnops.dates import day_text, moments
from churnops.monitoring.figures import Bins
from churnops.schema import Column

MAX_CHOICES = 8
MAX_CHANGES = 12
"""Largest number of model changes that are marked in a figure over time."""
_LABEL = 18
_DASHES = ("dash", "dot")

Line = tuple[str, float]
"""Name and level of a line across a figure."""


def over_time(
    points: Sequence[Point],
    *,
    y: str,
    marked: str,
    lines: Sequence[Line] = (),
    span: tuple[datetime, datetime] | None = None,
    share: bool = False,
    legend: bool = True,
) -> go.Figure:
    """Draw a measure over time, oldest first, with its intervals.

    Points with `Point.marked` are filled diamonds, others are circles. Report-only points are hollow, and the line does
    not pass through them. The line breaks where another model was deployed.

    Parameters
    ----------
    marked
        Name of the marked points in the legend.
    lines
        Levels for comparison, drawn across the figure.
    span
        Ends of the time axis; None for the first and the last point.
    share
        Whether values are shares; they are shown in percent.
    """
    figure = go.Figure()
    own = [point for point in points if not point.report_only]
    x: list[datetime | None] = []
    values: list[float | None] = []
    for before, point in zip([None, *own], own, strict=False):
        if before is not None and before.model != point.model:
            x.append(point.at)
            values.append(None)
        x.append(point.at)
        values.append(point.value)
    line = {"color": BLUE, "width": 1.5}
    figure.add_scatter(x=x, y=values, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    groups = (
        ("Reports", [p for p in own if not p.marked], "circle", BLUE),
        (marked, [p for p in own if p.marked], "diamond", ORANGE),
        ("Report only", [p for p in points if p.report_only], "circle-open", GREY),
    )
    for name, group, symbol, colour in groups:
        if group:
            figure.add_trace(_markers(group, name, symbol, colour, share))
    _across(figure, [point.at for point in points], lines, span)
    for at in _changes(own):
        figure.add_shape(
            type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line={"color": GREY, "width": 1, "dash": "dot"}
        )
    if span is not None:
        figure.update_xaxes(range=[span[0], span[1] + (span[1] - span[0]) / 50])  # room for the newest point
    laid_out(figure, height=280 if legend else 220, y=y, legend=legend)
    figure.update_xaxes(nticks=6 if legend else 4, tickangle=0)
    figure.update_yaxes(tickformat=".0%" if share else None, rangemode="tozero" if share else "normal")
    return figure


def _markers(group: Sequence[Point], name: str, symbol: str, colour: str, share: bool) -> go.Scatter:
    with_interval = [(p.low, p.high) if p.low is not None and p.high is not None else (p.value, p.value) for p in group]
    form = ".1%" if share else ".3f"
    hover = []
    for point in group:
        interval = "" if point.low is None or point.high is None else f" ({point.low:.3f} to {point.high:.3f})"
        hover.append(f"{point.at:%Y-%m-%d %H:%M} UTC<br>{point.value:{form}}{interval}<br>{safe(point.model)}")
    return go.Scatter(
        x=[point.at for point in group],
        y=[point.value for point in group],
        mode="markers",
        name=safe(name),
        marker={"symbol": symbol, "color": colour, "size": 8},
        hovertext=hover,
        hoverinfo="text",
        error_y={
            "type": "data",
            "symmetric": False,
            "thickness": 1,
            "width": 0,
            "color": colour,
            "array": [high - p.value for p, (_, high) in zip(group, with_interval, strict=True)],
            "arrayminus": [p.value - low for p, (low, _) in zip(group, with_interval, strict=True)],
        },
    )


def _across(
    figure: go.Figure, times: Sequence[datetime], lines: Sequence[Line], span: tuple[datetime, datetime] | None
) -> None:
    ends = span or ((min(times), max(times)) if times else None)
    for place, (name, level) in enumerate(lines):
        if ends is not None:
            dash = {"color": GREY, "width": 1.5, "dash": _DASHES[place % 2]}
            figure.add_scatter(
                x=list(ends), y=[level, level], mode="lines", name=safe(name), line=dash, hoverinfo="name+y"
            )


def _changes(own: Sequence[Point]) -> list[datetime]:
    """Return the times of the newest model changes."""
    return [after.at for before, after in pairwise(own) if before.model != after.model][-MAX_CHANGES:]


def interval_figure(value: float, low: float, high: float, lines: Sequence[Line]) -> go.Figure:
    """Draw a ROC-AUC with its interval on a scale up to 1, with levels for comparison."""
    figure = go.Figure()
    minimum = min(0.5, low, *(level for _, level in lines)) - 0.01
    figure.add_scatter(x=[minimum, 1.0], y=[0, 0], mode="lines", line={"color": GREY, "width": 1}, hoverinfo="skip")
    band = {"color": BLUE, "width": 10}
    figure.add_scatter(x=[low, high], y=[0, 0], mode="lines", line=band, opacity=0.4, hoverinfo="x")
    figure.add_scatter(x=[value], y=[0], mode="markers", marker={"color": BLUE, "size": 12}, hoverinfo="x")
    for place, (name, level) in enumerate(lines):
        up = 1 if place % 2 == 0 else -1
        figure.add_shape(
            type="line",
            x0=level,
            x1=level,
            y0=-0.4,
            y1=0.4,
            line={"color": GREY, "width": 2, "dash": _DASHES[place % 2]},
        )
        figure.add_annotation(
            x=level,
            y=0.75 * up,
            text=f"{safe(name)} {level:.3f}",
            showarrow=False,
            xanchor="right" if level > (minimum + 1) / 2 else "left",
        )
    laid_out(figure, height=130, legend=False)
    figure.update_xaxes(range=[minimum, 1.005], showgrid=False, zeroline=False)
    figure.update_yaxes(visible=False, range=[-1.1, 1.1])
    return figure


def column_figure(column: Column | None, reference: ColumnProfile, batch: ColumnProfile) -> go.Figure:
    """Draw a column's shares before (grey area or bars) and now (blue line or bars); empty if no value is known."""
    if column is None or column.numeric:
        figure = _histogram(reference, batch, is_date=column is not None and column.kind == "date")
    else:
        figure = _bars(column, reference, batch)
    laid_out(figure, height=180, legend=False)
    return figure


def _histogram(reference: ColumnProfile, batch: ColumnProfile, *, is_date: bool) -> go.Figure:
    """Draw steps along the tops of bins, with one more bin at each end for values beyond the axis."""
    figure, bins = go.Figure(), Bins.of(reference, batch)
    if bins is None:
        return figure
    first = 0 if bins.before[0] + bins.now[0] else 1
    last = bins.edges.size + 1 if bins.before[-1] + bins.now[-1] else bins.edges.size
    steps = np.diff(bins.edges)
    edges = np.concatenate([[bins.edges[0] - steps[0]], bins.edges, [bins.edges[-1] + steps[-1]]])
    texts = [day_text(edge) if is_date else f"{edge:.4g}" for edge in bins.edges]
    names = [f"below {texts[0]}", *(f"{a} to {b}" for a, b in pairwise(texts)), f"above {texts[-1]}"]
    x = moments(edges[first : last + 1]) if is_date else edges[first : last + 1]
    kinds = (
        ("Reference", bins.before, {"color": REFERENCE, "width": 1}, "tozeroy"),
        ("Now", bins.now, {"color": CURRENT, "width": 2}, "none"),
    )
    for name, shares, line, fill in kinds:
        if name == "Now" and not batch.rows:
            continue
        y = shares[first:last]
        figure.add_scatter(
            x=x,
            y=np.append(y, y[-1]),
            name=name,
            mode="lines",
            line=line | {"shape": "hv"},
            fill=fill,
            hovertext=[f"{name}: {part:.1%}, {text}" for part, text in zip(y, names[first:last], strict=True)],
            hoverinfo="text",
        )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def _bars(column: Column, reference: ColumnProfile, batch: ColumnProfile) -> go.Figure:
    """Draw pairs of bars for the most frequent choices, all others, and choices that are new since training."""
    before, now = (profile.at_points / max(profile.rows, 1) for profile in (reference, batch))
    order = np.argsort(-np.maximum(before, now), kind="stable")
    shown = np.sort(order[:MAX_CHOICES])
    names = [_choice(float(code), column) for code in reference.points[shown]]
    pairs = [(float(before[i]), float(now[i])) for i in shown]
    rest = order[MAX_CHOICES:]
    if rest.size:
        names.append(f"{rest.size} others")
        pairs.append((float(before[rest].sum()), float(now[rest].sum())))
    if batch.outside:
        names.append("new")
        pairs.append((0.0, batch.outside / batch.rows))
    places = list(range(len(names)))
    figure = go.Figure()
    for name, colour, side in (("Reference", REFERENCE, 0), ("Now", CURRENT, 1)):
        shares = [pair[side] for pair in pairs]
        hover = [f"{name}: {share:.1%}, {safe(choice)}" for share, choice in zip(shares, names, strict=True)]
        figure.add_bar(x=places, y=shares, name=name, marker_color=colour, hovertext=hover, hoverinfo="text")
    short = [safe(name if len(name) <= _LABEL else name[: _LABEL - 1] + "…") for name in names]
    figure.update_layout(barmode="group", bargap=0.3)
    figure.update_xaxes(tickmode="array", tickvals=places, ticktext=short)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def _choice(code: float, column: Column) -> str:
    return column.levels[int(code)] if code.is_integer() and 0 <= code < len(column.levels) else f"{code:.4g}"
