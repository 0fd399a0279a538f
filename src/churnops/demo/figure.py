"""Figure of the timeline: ROC-AUC over time, and the actions of the product below it."""

import html
import io
import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from churnops.demo.screen import conclusions
from churnops.demo.timeline import Event, Timeline
from churnops.evaluation import plots
from churnops.evaluation.plots import INK, MUTED

# Okabe and Ito's palette (2008) suits every kind of colour vision; each model has its own marker too.
MODELS: Final = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "D"), ("#cc79a7", "^"))
NEW_WORLD, BAD = "#f3ead7", "#b3361b"
LANES: Final = ("alerts", "monitoring", "retraining", "deployed model")
WIDTH, HEIGHT = 900, 500  # of the picture, in its own units
STYLE: Final[dict[Any, Any]] = plots.STYLE | {
    "svg.hashsalt": "timeline",
    "font.size": 11.5,
    "axes.grid": False,
    "lines.solid_capstyle": "projecting",
}


def timeline_svg(timeline: Timeline) -> str:
    """Draw a timeline as SVG. The same timeline gives the same bytes; text stays text, and nothing is loaded.

    The upper part shows ROC-AUC on consecutive customers, with DeLong's 95 % interval, by their time of arrival. The
    lower part shows the product's actions. The x-axis is seconds since the first arrival.
    """
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    out = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's matplotlibrc
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
        FigureCanvasSVG(figure)
        upper = figure.add_axes((0.115, 0.42, 0.865, 0.405))
        lower = figure.add_axes((0.115, 0.095, 0.865, 0.28), sharex=upper)
        _headline(figure, timeline)
        _performance(upper, timeline)
        _lanes(lower, timeline)
        figure.savefig(out, format="svg", metadata=nothing)
    return _named(out.getvalue(), " ".join(conclusions(timeline)))


def _headline(figure: Figure, timeline: Timeline) -> None:
    figure.text(0.02, 0.945, "The closed loop, customer by customer", size=15, weight="bold")
    recovery = timeline.recovery
    if recovery is not None:
        subtitle = (
            f"ROC-AUC {recovery.before.value:.2f} before the change, {recovery.meanwhile.value:.2f} until the new "
            f"model, {recovery.after.value:.2f} after it; {recovery.customers:,} customers arrived in between"
        )
    else:
        subtitle = f"{timeline.customers:,} customers, drift {timeline.drift:g}: the deployed model stays the same"
    figure.text(0.02, 0.895, subtitle, size=11.5, color=MUTED)


def _performance(axes: Axes, timeline: Timeline) -> None:
    end = timeline.seconds(timeline.ended)
    axes.set(xlim=(0.0, end), ylim=(0.45, 1.0), ylabel="ROC-AUC")
    axes.grid(axis="y")
    axes.tick_params(labelbottom=False)
    changed = timeline.seconds(timeline.changed)
    if timeline.drift > 0.0:
        axes.axvspan(changed, end, color=NEW_WORLD, linewidth=0, zorder=0)
        axes.text(changed + end / 200, 0.465, "the bill rule is reversed", size=11, color=MUTED)
    style = dict(zip(_models(timeline), MODELS * len(timeline.slices), strict=False))
    for one in timeline.slices:
        if math.isnan(one.auc.value):
            continue
        colour, marker = style[one.model]
        since, until = timeline.seconds(one.since), timeline.seconds(one.until)
        middle = (since + until) / 2
        axes.plot([since, until], [one.auc.value] * 2, color=colour, linewidth=1.5, alpha=0.5)
        if not math.isnan(one.auc.low):
            axes.vlines(middle, one.auc.low, one.auc.high, color=colour, linewidth=1.5, alpha=0.5)
        axes.plot(middle, one.auc.value, marker, color=colour, markersize=7)
    sizes = sorted(one.customers for one in timeline.slices)
    if sizes:
        title = f"each point: about {sizes[len(sizes) // 2]} consecutive customers with known outcomes, 95% interval"
        axes.set_title(title, size=11, color=MUTED, loc="left", pad=5)


def _lanes(axes: Axes, timeline: Timeline) -> None:
    place = {lane: len(LANES) - 1 - i for i, lane in enumerate(LANES)}
    axes.set(ylim=(-0.6, len(LANES) - 0.4), xlabel="seconds since the first customer")
    axes.set_yticks([place[lane] for lane in LANES], list(LANES), color=INK)
    axes.spines["left"].set_visible(False)
    end = timeline.seconds(timeline.ended)
    if timeline.drift > 0.0:
        axes.axvspan(timeline.seconds(timeline.changed), end, color=NEW_WORLD, linewidth=0, zorder=0)
    events = [event for event in timeline.events if timeline.began <= event.at <= timeline.ended]
    for event in events:
        x = timeline.seconds(event.at)
        if event.kind == "cycle":
            colour, face = (MUTED, "white") if event.good else (BAD, BAD)
            axes.plot(x, place["monitoring"], "o", color=colour, markerfacecolor=face, markersize=6)
        elif event.kind == "alert" and event.good is not None:
            marker, colour = ("v", INK) if event.good else ("^", BAD)
            axes.plot(x, place["alerts"], marker, color=colour, markersize=9)
            _beside(axes, timeline, x, place["alerts"], event.subject.replace("_", " ") + (": over" * event.good))
    for began, ended in _retrainings(events):
        since = timeline.seconds(began.at)
        until = timeline.seconds(ended.at) if ended else end
        axes.barh(place["retraining"], until - since, left=since, height=0.42, color=MUTED, alpha=0.45)
        if ended is not None:
            _beside(axes, timeline, until, place["retraining"], ended.subject)
    for (model, began_at, ended_at), (colour, _) in zip(_deployed(timeline), MODELS * 9, strict=False):
        left, right = timeline.seconds(began_at), timeline.seconds(ended_at)
        lane = place["deployed model"]
        axes.barh(lane, right - left, left=left, height=0.42, color=colour, alpha=0.85, edgecolor="white")
        if right - left > end / 5:
            axes.text((left + right) / 2, lane, model, size=10, color="white", ha="center", va="center")


def _beside(axes: Axes, timeline: Timeline, x: float, y: float, text: str) -> None:
    """Write a text beside a mark, on the side with more room."""
    end = timeline.seconds(timeline.ended)
    left = x > 0.85 * end
    axes.text(x - end / 80 if left else x + end / 80, y, text, size=10.5, va="center", ha="right" if left else "left")


def _models(timeline: Timeline) -> list[str]:
    return list(dict.fromkeys(one.model for one in timeline.slices))


def _deployed(timeline: Timeline) -> list[tuple[str, datetime, datetime]]:
    """Return each model with the start and end of its answers, by the slices."""
    spans: list[tuple[str, datetime, datetime]] = []
    for one in timeline.slices:
        if spans and spans[-1][0] == one.model:
            spans[-1] = (one.model, spans[-1][1], one.until)
        else:
            spans.append((one.model, one.since, one.until))
    ends = [since for _, since, _ in spans[1:]] + [timeline.ended] * bool(spans)
    return [(model, since, end) for (model, since, _), end in zip(spans, ends, strict=True)]


def _retrainings(events: Sequence[Event]) -> list[tuple[Event, Event | None]]:
    """Pair each decision to retrain with the gate's next decision; None if there is none."""
    pairs: list[tuple[Event, Event | None]] = []
    for event in events:
        if event.kind == "retrain" and event.subject == "yes":
            pairs.append((event, None))
        elif event.kind == "gate" and pairs and pairs[-1][1] is None:
            pairs[-1] = (pairs[-1][0], event)
    return pairs


def _named(drawn: str, label: str) -> str:
    """Return the picture with the reader's font and a name for screen readers."""
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", body)
    body = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', _head(label), body, count=1)
    return "".join(f"{line.rstrip()}\n" for line in body.splitlines())


def _head(label: str) -> str:
    name = html.escape(label)
    return (
        f'<svg role="img" aria-label="{name}" viewBox="\\1" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">\n<title>{name}</title>'
    ).replace("\\1", r"\g<1>")
