"""Small figures of a column in reference and batch, drawn as SVG text without a library, about a kilobyte each.

The reference is a filled blue shape, the batch an orange line: they differ in form, and in colour for every kind of
colour vision. Colours come from the style sheet of the page, so they follow light and dark mode.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile, Profile
from churnops.dates import day_text
from churnops.schema import Schema
from churnops.templates import printable

Floats = NDArray[np.float64]

WIDTH, HEIGHT, TOP, FOOT = 320, 96, 6, 16
BINS = 30
MOST_CHOICES = 12
ROW, LABEL, BAR = 20, 104, 176
TAIL = 0.005
"""Share of the reference's rows at either end that go into one bin if the tail is long."""


def clean(value: object) -> str:
    """Return text for a figure: escaped, and without control characters.

    >>> clean("<b>" + chr(7))
    '&lt;b&gt;'
    """
    return html.escape(printable(value))


def short(value: float) -> str:
    """Return a number for an axis: four significant digits.

    >>> short(1234567.0), short(0.25)
    ('1.235e+06', '0.25')
    """
    return f"{value:.4g}"


@dataclass(frozen=True)
class Bins:
    """Shares of a numeric column's rows: below the first edge, between neighbouring edges, and above the last edge.

    `ends` are the lowest and the highest value within the edges.
    """

    edges: Floats
    ends: tuple[float, float]
    before: Floats
    now: Floats

    @classmethod
    def of(cls, reference: ColumnProfile, batch: ColumnProfile) -> "Bins | None":
        """Bin both profiles; None if the reference has no finite value.

        Rows between two points of the reference go into the bin of the middle of these points.
        """
        placed = _edges(reference)
        if placed is None:
            return None
        edges, ends = placed
        places = np.concatenate([[-np.inf], np.zeros(reference.counts.size - 2), [np.inf]])
        places[1::2] = points = reference.points
        with np.errstate(invalid="ignore"):
            places[2:-1:2] = points[:-1] / 2 + points[1:] / 2
        bins = np.searchsorted(edges, places, side="right")
        bins[places == edges[-1]] -= 1  # the last bin includes its upper edge
        shares = [
            np.bincount(bins, profile.counts, edges.size + 1) / max(profile.rows, 1) for profile in (reference, batch)
        ]
        return cls(edges, ends, *shares)


def _edges(reference: ColumnProfile) -> tuple[Floats, tuple[float, float]] | None:
    finite = np.isfinite(reference.points)
    points, counts = reference.points[finite], reference.at_points[finite]
    if not points.size:
        return None
    low, high = float(points[0]), float(points[-1])
    shares = np.cumsum(counts) / max(counts.sum(), 1)
    inner = [float(points[np.searchsorted(shares, q).clip(0, points.size - 1)]) for q in (TAIL, 1 - TAIL)]
    if inner[1] > inner[0] and high / 4 - low / 4 > inner[1] - inner[0]:
        low, high = inner
    ends = low, high
    if (np.floor(points) == points).all() and max(abs(low), abs(high)) < 2**52:
        width = max(1.0, np.ceil((high - low + 1) / BINS))  # every bin has equally many whole numbers
        edges = low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1)
        return np.asarray(edges, dtype=np.float64), ends
    if low == high:
        half, largest = max(abs(low), 1.0) / 2, float(np.finfo(np.float64).max)
        low, high = max(low - half, -largest), min(high + half, largest)
    steps = np.linspace(0.0, 1.0, BINS + 1)
    return np.unique(low * (1 - steps) + high * steps), ends


def column_figure(name: str, reference: Profile, batch: Profile, schema: Schema) -> str:
    """Return the figure of a column, as SVG; "" if the column has no profile, or its values are personal."""
    if name not in reference or name in schema.personal:
        return ""
    then, column = reference[name], schema.by_name.get(name)
    now = batch.get(name, then.empty())
    if column is None or column.numeric:
        return histogram_svg(name, then, now, day_text if column and column.kind == "date" else short)
    return bars_svg(name, then, now, column.levels)


def histogram_svg(
    name: str, reference: ColumnProfile, batch: ColumnProfile, text: Callable[[float], str] = short
) -> str:
    """Draw the shares of a numeric column's rows, reference (filled) and batch (line), in about 30 bins; "" if empty.

    A separate bar at either end shows all values beyond the bins. `text` writes a value.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.arange(100.0))
    >>> histogram_svg("minutes", reference, reference.count(np.arange(50.0, 150.0))).count("<path")
    2
    """
    bins = Bins.of(reference, batch)
    if bins is None:
        return ""
    outside = [bool(bins.before[end] + bins.now[end]) for end in (0, -1)]
    left, right = (26 if outside[0] else 0), WIDTH - (26 if outside[1] else 0)
    inner = bins.edges.size - 1
    sides = [(left + (right - left) * i / inner, left + (right - left) * (i + 1) / inner) for i in range(inner)]
    sides = [(0.0, 20.0), *sides, (WIDTH - 20.0, float(WIDTH))]
    shown = slice(0 if outside[0] else 1, inner + 2 if outside[1] else inner + 1)
    top = max(bins.before.max(), bins.now.max(), 1e-9)
    paths = [_steps(sides[shown], shares[shown] / top) for shares in (bins.before, bins.now)]
    lines = f'<path class="then" d="{paths[0]}"/>' + (f'<path class="now" d="{paths[1]}"/>' if batch.rows else "")
    axis = f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT - FOOT}" y2="{HEIGHT - FOOT}"/>'
    ticks = (0, "start", "below ", outside[0], bins.ends[0]), (WIDTH, "end", "above ", outside[1], bins.ends[1])
    labels = "".join(
        f'<text x="{x}" y="{HEIGHT - 3}" text-anchor="{side}">{word if beyond else ""}{text(end)}</text>'
        for x, side, word, beyond, end in ticks
    )
    return _svg(name, _medians(reference, batch, text), HEIGHT, lines + axis + labels)


def _steps(sides: Sequence[tuple[float, float]], heights: Floats) -> str:
    """Return a path along the tops of bars; groups of bars that do not touch are closed separately."""
    foot, path, at = HEIGHT - FOOT, "", -1.0
    for (start, end), height in zip(sides, heights, strict=True):
        y = round(foot - (foot - TOP) * float(height))
        if round(start) != round(at):
            path += (f"V{foot}" if path else "") + f"M{round(start)} {foot}"
        path += f"V{y}H{round(end)}"
        at = end
    return f"{path}V{foot}"


def bars_svg(name: str, reference: ColumnProfile, batch: ColumnProfile, choices: Sequence[str]) -> str:
    """Draw the shares of choices, reference and batch, as pairs of bars: the twelve largest, the others, unseen ones.

    Examples
    --------
    >>> reference = ColumnProfile.fit(np.array([0.0, 0.0, 1.0]))
    >>> bars_svg("plan", reference, reference.count(np.array([1.0, 7.0])), ["No", "Yes"]).count("<rect")
    4
    """
    shares = np.column_stack([p.at_points / max(p.rows, 1) for p in (reference, batch)]) * 100
    order = np.argsort(-shares.max(axis=1), kind="stable")
    if order.size <= MOST_CHOICES:
        order = np.sort(order)
    rows = [(_choice(float(reference.points[i]), choices), *shares[i].tolist()) for i in order[:MOST_CHOICES]]
    top = max((max(row[1:]) for row in rows), default=0.0) or 1.0
    if order.size > MOST_CHOICES:
        rest = shares[order[MOST_CHOICES:]]
        rows.append((f"{len(rest)} others", *rest.sum(axis=0).tolist()))
    if batch.outside:
        rows.append(("unseen before", 0.0, 100 * batch.outside / batch.rows))
    if not rows:
        return ""
    drawn = []
    for place, (label, before, now) in enumerate(rows):
        y = place * ROW
        drawn.append(f'<text x="0" y="{y + 13}">{clean(label if len(label) <= 16 else label[:15] + "…")}</text>')
        for kind, share, offset in (("then", before, 3), ("now", now, 10)):
            if share:
                width = max(round(BAR * min(share / top, 1.0)), 1)  # "others" together may exceed every bar
                drawn.append(f'<rect class="{kind}" x="{LABEL}" y="{y + offset}" width="{width}" height="6"/>')
        if batch.rows:
            drawn.append(f'<text class="share" x="{WIDTH}" y="{y + 13}" text-anchor="end">{_percent(now)}</text>')
    return _svg(name, "Share of each choice, then and now", ROW * len(rows), "".join(drawn))


def interval_svg(value: float, low: float, high: float, marks: Sequence[tuple[str, float]]) -> str:
    """Draw a ROC-AUC with its interval between 0.5 and 1, and marks such as the expected value.

    Examples
    --------
    >>> interval_svg(0.8, 0.75, 0.85, [("expected", 0.9)]).count("<circle")
    1
    """
    lowest = min(0.5, low, *(mark for _, mark in marks))

    def x(number: float) -> int:
        return round(8 + (WIDTH - 16) * (number - lowest) / (1 - lowest))

    drawn = [f'<line class="axis" x1="8" x2="{WIDTH - 8}" y1="42" y2="42"/>']
    drawn += [f'<text x="{x(end)}" y="58" text-anchor="middle">{short(end)}</text>' for end in (lowest, 1.0)]
    for place, (label, mark) in enumerate(marks):
        anchor = "end" if x(mark) > WIDTH / 2 else "start"
        y = (10, 76)[place % 2]
        drawn.append(f'<line class="mark" x1="{x(mark)}" x2="{x(mark)}" y1="{min(y + 5, 42)}" y2="{max(y - 11, 42)}"/>')
        drawn.append(f'<text x="{x(mark)}" y="{y}" text-anchor="{anchor}">{clean(label)} {mark:.3f}</text>')
    drawn.append(f'<line class="range" x1="{x(low)}" x2="{x(high)}" y1="42" y2="42"/>')
    drawn.append(f'<circle class="value" cx="{x(value)}" cy="42" r="6"/>')
    text = f"{value:.3f}, between {low:.3f} and {high:.3f}"
    return _svg("ROC-AUC", text, 82, "".join(drawn))


def _svg(title: str, description: str, height: int, content: str) -> str:
    head = f"<title>{clean(title)}</title><desc>{clean(description)}</desc>"
    return f'<svg role="img" viewBox="0 0 {WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">{head}{content}</svg>'


def _choice(code: float, choices: Sequence[str]) -> str:
    return choices[int(code)] if code.is_integer() and 0 <= code < len(choices) else short(code)


def _percent(share: float) -> str:
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %"


def median(profile: ColumnProfile) -> float | None:
    """Return the median of a profile; None if there are no rows, or if the median lies beyond the points.

    A median between two points counts as the middle of these points.

    >>> median(ColumnProfile.fit(np.array([1.0, 2.0, 9.0])))
    2.0
    """
    if not profile.rows:
        return None
    cell = int(np.searchsorted(np.cumsum(profile.counts), profile.rows / 2))
    if cell in (0, profile.counts.size - 1):
        return None
    below, above = profile.points[(cell - 1) // 2], profile.points[cell // 2]
    middle = float(below if below == above else below / 2 + above / 2)
    return middle if np.isfinite(middle) else None


def _medians(reference: ColumnProfile, batch: ColumnProfile, text: Callable[[float], str]) -> str:
    before, now = median(reference), median(batch)
    if before is None or now is None:
        return "Shares of rows, then and now"
    return f"Shares of rows; the median was {text(before)} and is {text(now)}"
