"""Figures of the Analysis page: groups, distributions, associations, drivers of scores, calibration."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from churnops.app.analysis.associations import Associations
from churnops.app.analysis.explore import Calibrated, Distribution, Group
from churnops.app.shared.sample import Drivers, Floats, Variable
from churnops.app.shared.theme import BLUE, CHURNED, GREY, LOWERS, RAISES, STAYED, laid_out, legend_above, safe
from churnops.dates import day_text, moments
from churnops.words import heading

ROW = 26  # pixels per bar
MAX_LABEL = 34  # letters of a name beside an axis
MAX_VALUES = 20  # a feature with at most this many distinct values is averaged value by value
_PALE = "rgba(0,114,178,0.35)"
# Colours are transparent near 0, so they work on light and dark pages.
_DIVERGING = [[0.0, BLUE], [0.5, "rgba(0,114,178,0.03)"], [0.5, "rgba(213,94,0,0.03)"], [1.0, CHURNED]]
_PLAIN = {"showgrid": False, "zeroline": False}  # for an axis with names
_FILLS = {STAYED: "rgba(0,114,178,0.22)", CHURNED: "rgba(213,94,0,0.22)"}


def groups_figure(groups: Sequence[Group], overall: float) -> go.Figure:
    """Draw a bar with an interval for each group's rate, and the overall rate as a line."""
    labels = [_short(group.label) for group in groups]
    rate = np.array([group.rate for group in groups])
    errors = {
        "type": "data",
        "array": [g.high - g.rate for g in groups],
        "arrayminus": [g.rate - g.low for g in groups],
        "color": BLUE,
        "thickness": 2,
        "width": 4,
        "symmetric": False,
    }
    bars = go.Bar(
        x=rate,
        y=list(range(len(groups))),
        orientation="h",
        marker={"color": _PALE},
        error_x=errors,
        customdata=[[_short(g.label), g.customers, g.churned, g.low, g.high] for g in groups],
        hovertemplate="%{customdata[0]}<br>%{x:.1%} left (%{customdata[3]:.1%} to %{customdata[4]:.1%})<br>"
        "%{customdata[2]:,} of %{customdata[1]:,} customers<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.add_vline(x=overall, line={"color": GREY, "dash": "dash", "width": 1.5})
    figure.add_annotation(
        x=overall,
        y=1,
        yref="paper",
        yanchor="bottom",
        text=f"overall {overall:.1%}",
        showarrow=False,
        font={"color": GREY},
    )
    laid_out(figure, height=110 + ROW * len(groups), x="Share who left", legend=False)
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    texts = [f"{label} ({group.customers:,})" for label, group in zip(labels, groups, strict=True)]
    figure.update_yaxes(tickvals=list(range(len(groups))), ticktext=texts, autorange="reversed", **_PLAIN)
    return figure


def distribution_figure(spread: Distribution, title: str) -> go.Figure:
    """Draw the distributions of customers who stayed and who left: areas for a number, else two bars per value."""
    figure = go.Figure()
    for name, shares, colour in (("stayed", spread.stayed, STAYED), ("left", spread.churned, CHURNED)):
        if spread.edges.size:
            figure.add_scatter(
                x=_axis(np.repeat(spread.edges, 2), is_date=spread.is_date),
                y=np.concatenate(([0.0], np.repeat(shares, 2), [0.0])),
                name=name,
                mode="lines",
                line={"color": colour, "width": 2, "dash": "solid" if name == "stayed" else "dot"},
                fill="tozeroy",
                fillcolor=_FILLS[colour],
                hoverinfo="skip",
            )
            middles = (spread.edges[1:] + spread.edges[:-1]) / 2
            figure.add_scatter(
                x=_axis(middles, is_date=spread.is_date),
                y=shares,
                name=name,
                mode="markers",
                marker={"color": colour, "opacity": 0},
                text=spread.labels,
                showlegend=False,
                hovertemplate=f"%{{text}}<br>%{{y:.1%}} of those who {name}<extra></extra>",
            )
        else:
            figure.add_bar(
                x=list(range(len(spread.labels))),
                y=shares,
                name=name,
                marker={"color": colour},
                text=[_short(label) for label in spread.labels],
                textposition="none",
                hovertemplate=f"%{{text}}<br>%{{y:.1%}} of those who {name}<extra></extra>",
            )
    legend_above(laid_out(figure, height=380, x=title, y="Share of customers"))
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    if not spread.edges.size:
        figure.update_xaxes(
            tickvals=list(range(len(spread.labels))), ticktext=[_short(label) for label in spread.labels], **_PLAIN
        )
    return figure


def associations_figure(table: Associations) -> go.Figure:
    """Draw each pair's strength as a coloured square: orange for a positive relation, blue for a negative one.

    Names stand at the left with a number, and only this number stands above: a phone has no room for names twice.
    """
    names = [_short(column.title, 24) for column in table.columns]
    places = list(range(len(names)))
    figure = go.Figure(
        go.Heatmap(
            z=table.strength,
            x=places,
            y=places,
            zmin=-1,
            zmax=1,
            xgap=1,
            ygap=1,
            colorscale=_DIVERGING,
            customdata=[[f"{one} and {other}" for other in names] for one in names],
            hovertemplate="%{customdata}<br>%{z:.2f}<extra></extra>",
            colorbar={
                "orientation": "h",
                "y": 0,
                "yanchor": "top",
                "thickness": 10,
                "tickvals": [-1, -0.5, 0, 0.5, 1],
                "outlinewidth": 0,
            },
        )
    )
    laid_out(figure, height=120 + 24 * len(names), legend=False)
    numbered = [f"{name} {i}" for i, name in enumerate(names, start=1)]
    shown = places[:: 1 if len(names) <= 12 else 2]  # a phone has room for every other number
    figure.update_xaxes(tickvals=shown, ticktext=[str(i + 1) for i in shown], tickangle=0, side="top", **_PLAIN)
    figure.update_yaxes(tickvals=places, ticktext=numbered, autorange="reversed", **_PLAIN)
    return figure


def importance_figure(drivers: Drivers, limit: int = 15) -> go.Figure:
    """Draw the mean absolute contribution of the first `limit` inputs, and of all other inputs together as one bar."""
    importance = drivers.importance
    names = [_short(variable.title) for variable in drivers.inputs[:limit]]
    sizes = importance[:limit].tolist()
    if importance.size > limit:
        names.append(f"the other {importance.size - limit} together")
        sizes.append(float(np.abs(drivers.contributions[:, limit:].sum(axis=1)).mean()))
    figure = go.Figure(
        go.Bar(
            x=sizes,
            y=list(range(len(sizes))),
            orientation="h",
            marker={"color": BLUE},
            customdata=names,
            hovertemplate="%{customdata}<br>%{x:.3g} on average<extra></extra>",
        )
    )
    laid_out(figure, height=90 + ROW * len(sizes), x=f"Mean contribution ({drivers.scale})", legend=False)
    figure.update_yaxes(tickvals=list(range(len(sizes))), ticktext=names, autorange="reversed", **_PLAIN)
    return figure


def dependence_figure(variable: Variable, contributions: Floats, scale: str) -> go.Figure:
    """Draw each customer's value against its contribution to the score, and the mean contribution along the values."""
    known = ~np.isnan(variable.values)
    values, given = variable.values[known], contributions[known]
    distinct = np.unique(values)
    # Customers with the same value would hide each other, so they are spread a little, in a fixed pattern.
    spread = 0.0 if distinct.size > MAX_VALUES else 0.3 * float(np.diff(distinct).min(initial=1.0))
    x = values + spread * ((np.arange(values.size) * 0.618034) % 1 - 0.5)
    figure = go.Figure()
    for name, part, colour in (("raises the risk", given > 0, RAISES), ("lowers it", given <= 0, LOWERS)):
        figure.add_scattergl(
            x=_axis(x[part], is_date=variable.is_date),
            y=given[part],
            mode="markers",
            name=name,
            customdata=_value_texts(variable, values[part]),
            marker={"color": colour, "size": 5, "opacity": 0.45},
            hovertemplate="%{customdata}<br>adds %{y:.3g}<extra></extra>",
        )
    middle, mean = _along(values, given)
    along, line = _axis(middle, is_date=variable.is_date), {"color": GREY, "width": 2}
    figure.add_scatter(x=along, y=mean, mode="lines+markers", name="mean", line=line)
    legend_above(
        laid_out(figure, height=380, x=heading(variable.title, variable.unit), y=f"Added to the score ({scale})")
    )
    if variable.choices:
        shown = distinct.astype(int)
        texts = [_short(variable.choices[i]) for i in shown]
        figure.update_xaxes(tickvals=shown.tolist(), ticktext=texts, **_PLAIN)
    return figure


def calibration_figure(groups: Sequence[Calibrated]) -> go.Figure:
    """Draw observed rates with intervals against predicted rates, the ideal diagonal, and numbers of customers."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.78, 0.22], vertical_spacing=0.04)
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="as predicted", line=line, hoverinfo="skip", row=1, col=1)
    observed = [one.group for one in groups]
    predicted = [one.predicted for one in groups]
    figure.add_scatter(
        x=predicted,
        y=[g.rate for g in observed],
        mode="markers",
        name="observed, with 95 % interval",
        marker={"size": 9, "color": BLUE},
        row=1,
        col=1,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [g.high - g.rate for g in observed],
            "arrayminus": [g.rate - g.low for g in observed],
            "color": BLUE,
            "thickness": 1.4,
        },
        customdata=[[g.churned, g.customers, g.low, g.high] for g in observed],
        hovertemplate="predicted %{x:.1%}<br>%{y:.1%} left (%{customdata[2]:.1%} to %{customdata[3]:.1%})<br>"
        "%{customdata[0]:,} of %{customdata[1]:,} customers<extra></extra>",
    )
    starts = [np.floor(min(p, 0.999) * 10) / 10 for p in predicted]
    figure.add_bar(
        x=[start + 0.05 for start in starts],
        y=[g.customers for g in observed],
        width=0.092,
        showlegend=False,
        marker={"color": BLUE, "opacity": 0.45},
        customdata=[g.label for g in observed],
        hovertemplate="predicted %{customdata}<br>%{y:,} customers<extra></extra>",
        row=2,
        col=1,
    )
    legend_above(laid_out(figure, height=460))
    percent = {"tickformat": ".0%", "range": [-0.02, 1.02]}
    figure.update_xaxes(**percent)
    figure.update_xaxes(title_text="Predicted probability of leaving", row=2, col=1)
    figure.update_yaxes(title_text="Share who left", **percent, row=1, col=1)
    figure.update_yaxes(title_text="Customers", row=2, col=1)
    return figure


def _along(values: Floats, given: Floats) -> tuple[Floats, Floats]:
    """Return the mean contribution along the values: at each value if there are few, else in quantile ranges."""
    distinct, place = np.unique(values, return_inverse=True)
    if distinct.size > MAX_VALUES:
        first = np.unique(np.quantile(values, np.arange(MAX_VALUES) / MAX_VALUES, method="higher"))
        place = np.searchsorted(first, values, side="right") - 1
    count = np.bincount(place)
    return np.bincount(place, weights=values) / count, np.bincount(place, weights=given) / count


def _axis(values: Floats, *, is_date: bool) -> Floats | NDArray[np.datetime64]:
    return moments(values) if is_date else values


def _value_texts(variable: Variable, values: Floats) -> list[str]:
    if variable.choices:
        return [_short(variable.choices[int(value)]) for value in values]
    return [day_text(value) if variable.is_date else f"{value:,.6g}" for value in values]


def _short(name: str, limit: int = MAX_LABEL) -> str:
    return safe(name if len(name) <= limit else name[: limit - 1] + "…")
