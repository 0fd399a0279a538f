"""Common look of figures: colours that colour-blind people can distinguish, readable on light and dark."""

import html

import plotly.graph_objects as go

# Okabe and Ito, "Color universal design" (2008).
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#8A8A8A"
REFERENCE, CURRENT = GREY, BLUE
RAISES, LOWERS = RED, BLUE
STAYED, CHURNED = BLUE, RED
CONFIG = {"displayModeBar": False, "responsive": True}
"""Options for `st.plotly_chart`: no tool bar over the figure."""


def laid_out(figure: go.Figure, *, height: int = 320, x: str = "", y: str = "", legend: bool = True) -> go.Figure:
    """Give a figure the common look; text and background follow the page's theme, light or dark."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        showlegend=legend,
        hovermode="closest",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},  # above the figure, grows upwards
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    grid = {"gridcolor": "rgba(128,128,128,0.25)", "zerolinecolor": "rgba(128,128,128,0.5)", "automargin": True}
    figure.update_xaxes(title_text=safe(x) or None, **grid)  # an empty title would take room
    figure.update_yaxes(title_text=safe(y) or None, **grid)
    return figure


def legend_above(figure: go.Figure) -> go.Figure:
    """Let a legend of several lines, as on a phone, grow upwards and not into the figure."""
    return figure.update_layout(legend={"yanchor": "bottom", "y": 1.02})


def mark(figure: go.Figure, point: tuple[float, float], name: str, colour: str, symbol: str) -> None:
    """Mark a point of a curve."""
    figure.add_scatter(
        x=[point[0]],
        y=[point[1]],
        mode="markers",
        name=name,
        marker={"color": colour, "size": 13, "symbol": symbol, "line": {"width": 3 if symbol.endswith("open") else 0}},
        hovertemplate=f"{name}<br>%{{y:,.4g}}<extra></extra>",
    )


def safe(text: object) -> str:
    """Escape text from outside for Plotly, which reads tags such as <b>.

    >>> safe("<img src=x>")
    '&lt;img src=x&gt;'
    """
    return html.escape(str(text), quote=False)
