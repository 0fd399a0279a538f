"""Figures of an evaluation as inline SVG; only this module uses Matplotlib.

A function takes data and returns text. It writes no file, opens no window and loads nothing from elsewhere. The same
data gives the same bytes. Not thread-safe: Matplotlib's settings are global while a figure is drawn.
"""

import html
import io
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from churnops.evaluation.curves import calibration_curve, precision_recall_curve, roc_curve
from churnops.evaluation.metrics import Interval
from churnops.evaluation.scored_rows import Floats
from churnops.evaluation.wilson import wilson

# Blue and vermillion of Okabe and Ito's palette (2008), which differ for every kind of colour vision. The page's style
# sheet replaces all five in dark mode; a figure on its own keeps them.
INK, MUTED, GRID, MAIN, SECOND = "#1f2933", "#5f6b7a", "#dfe4ea", "#0072b2", "#d55e00"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", MAIN: "main", SECOND: "second"}
_POINTS = 400  # limit of a curve's points: two per pixel of its width
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
}


def confusion_matrix_svg(confusion: Mapping[str, int]) -> str:
    """Draw the confusion matrix, with outcomes as rows and predictions as columns.

    Parameters
    ----------
    confusion : mapping with keys tn, fp, fn, tp
        Counts of rows.

    Returns
    -------
    str
        An `<svg>` element for a page. The colour of a cell shows its share of the row.

    Examples
    --------
    >>> confusion_matrix_svg({"tn": 90, "fp": 2, "fn": 3, "tp": 5}).startswith("<svg role=")
    True
    """
    cells = np.array([[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]])
    rows = cells.sum(axis=1)

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.2, 0.05, 0.75, 0.75))
        axes.set(xlim=(0, 2), ylim=(2, 0), xticks=(0.5, 1.5), yticks=(0.5, 1.5))
        axes.set_xticklabels(["predicted to stay", "predicted to churn"])
        axes.set_yticklabels([f"stayed\n{rows[0]:,}", f"churned\n{rows[1]:,}"])
        axes.xaxis.tick_top()
        axes.tick_params(colors=INK, pad=8)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        for i, j in np.ndindex(2, 2):
            share = cells[i, j] / rows[i] if rows[i] else 0.0
            colour = MAIN if i == j else SECOND
            axes.fill(
                [j + 0.015, j + 0.985, j + 0.985, j + 0.015],
                [i + 0.015, i + 0.015, i + 0.985, i + 0.985],
                color=colour,
                alpha=0.06 + 0.44 * share,
                linewidth=0,
            )
            axes.text(j + 0.5, i + 0.47, f"{cells[i, j]:,}", size=21, weight="bold", ha="center", va="center")
            who = ("stayed", "churned")[i]
            note = f"{share:.1%} of those who {who}" if rows[i] else f"nobody {who}"
            axes.text(j + 0.5, i + 0.69, note, size=8.5, ha="center", va="center")

    counts = ", ".join(f"{name} {confusion[name]}" for name in ("tn", "fp", "fn", "tp"))
    return _svg("Confusion matrix", counts, draw)


def roc_svg(outcome: ArrayLike, probability: ArrayLike, auc: Interval) -> str:
    """Draw the ROC curve with its area; arguments and the interval as in `metrics.evaluate`."""
    wrong, right = roc_curve(outcome, probability)

    def draw(figure: Figure) -> None:
        axes = _unit_axes(figure)
        axes.set_xlabel("false positive rate (share of stayed customers flagged)")
        axes.set_ylabel("true positive rate (share of churned customers flagged)")
        _headline(figure, "ROC-AUC", auc)
        if math.isnan(auc.value):
            _cannot_tell(axes)
            return
        _diagonal(axes, "chance")
        axes.fill_between(*_thin(wrong, right), color=MAIN, alpha=0.08, linewidth=0)
        axes.plot(*_thin(wrong, right), color=MAIN, linewidth=2)

    return _svg("ROC curve", f"ROC-AUC {_description(auc)}", draw)


def precision_recall_svg(outcome: ArrayLike, probability: ArrayLike, average_precision: Interval) -> str:
    """Draw precision against recall with the average precision; arguments as in `metrics.evaluate`."""
    recall, precision = precision_recall_curve(outcome, probability)
    rate = float(np.asarray(outcome).mean())

    def draw(figure: Figure) -> None:
        axes = _unit_axes(figure)
        axes.set_xlabel("recall (share of churned customers flagged)")
        axes.set_ylabel("precision (share of flagged customers who churned)")
        _headline(figure, "PR-AUC", average_precision)
        if math.isnan(average_precision.value):
            _cannot_tell(axes)
            return
        axes.plot([0, 1], [rate, rate], color=MUTED, linewidth=1, dashes=(4, 3))
        axes.text(0.01, rate + 0.015, f"churn rate {rate:.1%}", size=8.5, color=MUTED)
        # No threshold gives the customary point (0, 1), so the curve begins at the precision of the first threshold.
        x, y = _thin(np.concatenate(([0.0], recall[1:])), np.concatenate((precision[1:2], precision[1:])))
        axes.fill_between(x, y, step="pre", color=MAIN, alpha=0.08, linewidth=0)
        axes.plot(x, y, color=MAIN, linewidth=2, drawstyle="steps-pre")

    return _svg("Precision and recall", f"PR-AUC {_description(average_precision)}", draw)


def calibration_svg(outcome: ArrayLike, probability: ArrayLike, calibration_error: Interval) -> str:
    """Draw the observed against the predicted churn rate per bin, with the number of customers in each bin.

    The bars are 95 % Wilson score intervals (Wilson, JASA 1927) of a bin's observed rate. A bin is evidence of bad
    calibration only if its bar misses the diagonal. Arguments as in `metrics.evaluate`.
    """
    mean, observed, count = calibration_curve(outcome, probability)
    filled = count > 0
    _, low, high = wilson(observed[filled] * count[filled], count[filled])

    def draw(figure: Figure) -> None:
        axes = _unit_axes(figure, bottom=0.31)
        axes.set_ylabel("observed churn rate")
        axes.tick_params(labelbottom=False)
        _headline(figure, "Calibration error", calibration_error)
        _diagonal(axes, "as predicted")
        axes.vlines(mean[filled], low, high, color=MAIN, linewidth=1.6, alpha=0.45)
        axes.plot(mean[filled], observed[filled], "o-", color=MAIN, linewidth=1.2, markersize=5.5, clip_on=False)
        counts = figure.add_axes((0.15, 0.12, 0.8, 0.14), sharex=axes)
        counts.set(yticks=(), xlabel="predicted churn probability, customers in each bin")
        counts.grid(False)
        counts.spines["left"].set_visible(False)
        middle = (np.arange(count.size) + 0.5) / count.size
        counts.bar(middle, count, width=0.092, color=MAIN, alpha=0.35)
        counts.set_ylim(0, 1.3 * count.max())
        for x, number in zip(middle, count, strict=True):
            counts.text(x, number + 0.05 * count.max(), f"{number:,}", size=7.5, color=MUTED, ha="center")

    return _svg("Calibration", f"calibration error {_description(calibration_error)}", draw)


def _svg(title: str, description: str, draw: Callable[[Figure], None]) -> str:
    """Draw a titled figure without metadata, which would contain a date and web addresses."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    out = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change a report
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": title})
        figure = Figure(figsize=(5.2, 4.6))
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        figure.text(0.03, 0.94, title, size=13, weight="bold")
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        figure.savefig(out, format="svg", metadata=nothing)
    return _inline(out.getvalue(), html.escape(f"{title}: {description}"))


def _inline(drawn: str, label: str) -> str:
    """Turn Matplotlib's file into an element with the page's colours and with a name for screen readers."""
    head, _, body = drawn[drawn.index("<svg") :].partition(">")
    view = re.search(r'viewBox="[^"]*"', head)
    used = set(re.findall(r"#([\w-]+)", body))  # figures of a page would repeat unused ids
    body = re.sub(r' id="([^"]*)"', lambda match: match.group() if match[1] in used else "", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable}, {colour})")
    return (
        f'<svg role="img" aria-label="{label}" {view.group() if view else ""} '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f"<title>{label}</title>{body.strip()}"
    )


def image(svg: str) -> str:
    """Return an image file of a figure: with a size, which some viewers need, and a white background.

    >>> image('<svg viewBox="0 0 374.4 331.2"></svg>')
    '<svg width="374.4pt" height="331.2pt" style="background: #ffffff" viewBox="0 0 374.4 331.2"></svg>'
    """
    return re.sub(
        r'<svg (.*?viewBox="0 0 ([\d.]+) ([\d.]+)")',
        r'<svg width="\2pt" height="\3pt" style="background: #ffffff" \1',
        svg,
    )


def _unit_axes(figure: Figure, bottom: float = 0.12) -> Axes:
    axes = figure.add_axes((0.15, bottom, 0.8, 0.86 - bottom))
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    return axes


def _headline(figure: Figure, name: str, metric: Interval) -> None:
    figure.text(0.95, 0.94, f"{name} {number(metric.value)}", size=12, weight="bold", color=MAIN, ha="right")
    figure.text(0.95, 0.895, f"interval {interval_text(metric)}", size=9, color=MUTED, ha="right")


def _diagonal(axes: Axes, label: str) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, dashes=(4, 3))
    axes.text(
        0.5,
        0.48,
        label,
        size=8.5,
        color=MUTED,
        ha="center",
        va="top",
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
    )


def _cannot_tell(axes: Axes) -> None:
    axes.text(0.5, 0.5, "cannot tell: all outcomes are the same", color=MUTED, ha="center")


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Keep at most `_POINTS` points, evenly spaced along the curve; corners and both ends stay."""
    if x.size <= _POINTS:
        return x, y
    along = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _POINTS)))
    return x[kept], y[kept]


def number(value: float) -> str:
    """Return a metric with three decimals; NaN is "cannot tell".

    >>> number(0.91234), number(math.nan)
    ('0.912', 'cannot tell')
    """
    return "cannot tell" if math.isnan(value) else f"{value:.3f}"


def interval_text(metric: Interval) -> str:
    """Return both ends of an interval with three decimals; NaN is "cannot tell".

    >>> interval_text(Interval(0.5, 0.4, 0.6))
    '0.400 to 0.600'
    """
    return "cannot tell" if math.isnan(metric.low) else f"{metric.low:.3f} to {metric.high:.3f}"


def _description(metric: Interval) -> str:
    return f"{number(metric.value)}, interval {interval_text(metric)}"
