"""Figures of the Analysis page: customers reached by a campaign, and profit of an offer."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from churnops.app.shared.sample import Floats
from churnops.app.shared.theme import BLUE, GREEN, GREY, ORANGE, laid_out, legend_above, mark
from churnops.decision.profit import Proposal, Ranking
from churnops.words import percent

POINTS = 300  # per curve: more than a screen shows
_BAND = "rgba(0,114,178,0.18)"


def gain_figure(ranking: Ranking, share: float, threshold: float) -> go.Figure:
    """Draw the share of leaving customers who are reached, by the share of customers contacted in order of score."""
    contacted = np.linspace(0, 1, POINTS + 1)
    reached = ranking.reached(contacted)
    perfect = ranking.leavers / ranking.rows
    figure = go.Figure()
    figure.add_scatter(
        x=[0, perfect, 1],
        y=[0, 1, 1],
        mode="lines",
        name="perfect",
        hoverinfo="skip",
        line={"color": GREY, "dash": "dot", "width": 1.5},
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="at random",
        hoverinfo="skip",
        line={"color": GREY, "dash": "dash", "width": 1.5},
    )
    figure.add_scatter(
        x=contacted,
        y=reached,
        mode="lines",
        name="by score",
        line={"color": BLUE, "width": 2.5},
        hovertemplate="the %{x:.1%} with the highest scores<br>"
        "include %{y:.1%} of the customers who leave<extra></extra>",
    )
    deployed = ranking.contacted[ranking.at(threshold)] / ranking.rows
    mark(figure, (deployed, float(ranking.reached(deployed))), f"in force {threshold:g}", ORANGE, "diamond")
    mark(figure, (share, float(ranking.reached(share))), "chosen", GREEN, "circle-open")
    legend_above(laid_out(figure, height=400, x="Share of customers contacted", y="Share of leaving customers"))
    figure.update_xaxes(tickformat=".0%", range=[-0.01, 1.01])
    figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.04])
    return figure


def lift_figure(ranking: Ranking, share: float) -> go.Figure:
    """Draw lift: how many times more leaving customers a choice by score reaches than a random choice."""
    contacted = np.linspace(1 / POINTS, 1, POINTS)
    lift = ranking.reached(contacted) / contacted
    figure = go.Figure()
    figure.add_scatter(
        x=contacted,
        y=lift,
        mode="lines",
        name="by score",
        line={"color": BLUE, "width": 2.5},
        hovertemplate="the %{x:.1%} with the highest scores<br>%{y:.2f} times as many as at random<extra></extra>",
    )
    figure.add_scatter(
        x=[0, 1],
        y=[1, 1],
        mode="lines",
        name="at random",
        hoverinfo="skip",
        line={"color": GREY, "dash": "dash", "width": 1.5},
    )
    mark(figure, (share, float(ranking.reached(share)) / share), "chosen", GREEN, "circle-open")
    legend_above(laid_out(figure, height=400, x="Share of customers contacted", y="Times as many as at random"))
    figure.update_xaxes(tickformat=".0%", range=[-0.01, 1.01])
    figure.update_yaxes(rangemode="tozero")
    return figure


def shown_positions(proposal: Proposal) -> NDArray[np.int64]:
    """Return about 300 positions in `ranking.thresholds` to draw, including first, last, best and deployed."""
    last = proposal.ranking.thresholds.size - 1
    spread = np.linspace(0, last, min(last + 1, POINTS)).round().astype(np.int64)
    extremes = np.array([0, last, proposal.best, proposal.deployed], dtype=np.int64)
    return np.unique(np.concatenate((spread, extremes)))


def profit_figure(
    proposal: Proposal, positions: NDArray[np.int64], low: Floats, high: Floats, confidence: float
) -> go.Figure:
    """Draw profit per 1,000 customers by threshold with its interval, and the best and the deployed threshold.

    `low` and `high` are the ends of the interval at `positions`. Thresholds between two scores contact the same
    customers as the higher score, so the curve is flat there.
    """
    ends = proposal.ranking.thresholds[positions]
    ends = np.concatenate(([0.0], np.where(np.isfinite(ends), ends, 1.0)))

    def steps(values: Floats) -> Floats:
        return np.concatenate((values[:1], values))

    profit, contacted = proposal.profit[positions], proposal.ranking.contacted[positions] / proposal.ranking.rows * 1000
    figure = go.Figure()
    edge = {"width": 0, "shape": "vh"}
    figure.add_scatter(x=ends, y=steps(low), mode="lines", line=edge, showlegend=False, hoverinfo="skip")
    figure.add_scatter(
        x=ends,
        y=steps(high),
        mode="lines",
        line=edge,
        fill="tonexty",
        fillcolor=_BAND,
        hoverinfo="skip",
        name=f"{percent(confidence)} interval",
    )
    figure.add_scatter(
        x=ends,
        y=steps(profit),
        mode="lines",
        line={"color": BLUE, "width": 2, "shape": "vh"},
        name="expected profit",
        customdata=steps(contacted),
        hovertemplate="from %{x:.4g}: %{y:,.0f}<br>%{customdata:,.0f} of 1,000 contacted<extra></extra>",
    )
    deployed, best = proposal.profit[proposal.deployed], proposal.profit[proposal.best]
    mark(figure, (proposal.threshold, float(deployed)), f"in force {proposal.threshold:g}", ORANGE, "diamond")
    place = (
        float(min(proposal.ranking.thresholds[proposal.best], 1.0)) if proposal.setting is None else proposal.setting
    )
    mark(figure, (place, float(best)), "best", GREEN, "circle-open")
    legend_above(laid_out(figure, height=420, x="Threshold", y="Profit per 1,000 customers"))
    figure.update_xaxes(range=[-0.01, 1.01])
    figure.update_yaxes(tickformat=",")
    return figure
