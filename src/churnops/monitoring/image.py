"""The figures of a monitoring report as one image file, for viewers that show no pages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from churnops.data.profile import Profile
from churnops.monitoring.figures import WIDTH, column_figure
from churnops.monitoring.page import MOST_FIGURES, column_title, ordered_columns
from churnops.schema import Schema
from churnops.templates import render

PER_ROW, GAP, HEAD = 3, 24, 30
"""Figures in a row, distance between two, and height of a figure's name."""


@dataclass(frozen=True)
class _Placed:
    """A named figure with its place; `y` is the baseline of the name."""

    name: str
    svg: str
    x: int
    y: int
    height: int
    width: int = WIDTH


def report_image(document: Mapping[str, Any], reference: Profile, batch: Profile, schema: Schema) -> str:
    """Return an SVG file with the figures of the score, the outcome and the columns, the largest differences first.

    Arguments as in `page.report_page`.
    """
    drawn = [
        (column_title(column["name"], schema), svg)
        for column in ordered_columns(document, schema)[:MOST_FIGURES]
        if (svg := column_figure(column["name"], reference, batch, schema))
    ]
    placed: list[_Placed] = []
    y = 2 * GAP
    for start in range(0, len(drawn), PER_ROW):
        row = drawn[start : start + PER_ROW]
        heights = [_height(svg) for _, svg in row]
        placed += [
            _Placed(name, svg, GAP + place * (WIDTH + GAP), y + HEAD // 2, heights[place])
            for place, (name, svg) in enumerate(row)
        ]
        y += HEAD + max(heights) + GAP
    return render(
        "monitoring_image.svg",
        title=f"{document['model_version']}: reference (blue) and batch (orange)",
        figures=placed,
        width=PER_ROW * (WIDTH + GAP) + GAP,
        height=y,
        gap=GAP,
    )


def _height(svg: str) -> int:
    match = re.search(r'viewBox="0 0 \d+ (\d+)"', svg)
    assert match
    return int(match[1])
