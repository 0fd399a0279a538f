"""Pieces that the page of a report is made of: tables, lists of facts, verdicts, and numbers as text."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from churnops.monitoring.figures import clean

UNTOLD = "cannot tell"


def section(title: str, content: str) -> str:
    """Return a part of the page under its heading; both are HTML.

    >>> section("Columns", "<p>none</p>").startswith("<section><h2>Columns</h2>")
    True
    """
    return f"<section><h2>{title}</h2>\n{content}</section>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values, which are text, as a list.

    >>> facts([("Rows", "<5")])
    '<dl><div><dt>Rows</dt><dd>&lt;5</dd></div></dl>'
    """
    return "<dl>" + "".join(f"<div><dt>{clean(n)}</dt><dd>{clean(v)}</dd></div>" for n, v in pairs) + "</dl>"


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table of what `row` made, which scrolls by itself; a last column "Why" holds words.

    >>> "<tbody><tr>" in table(("Name", "p"), [row("x", "0.5")])
    True
    """
    words = ' class="words"' if head[-1] == "Why" else ""
    header = "".join(f'<th scope="col">{name}</th>' for name in head[:-1]) + f'<th scope="col"{words}>{head[-1]}</th>'
    body = "<table><thead><tr>" + header + "</tr></thead>\n<tbody>" + "\n".join(rows) + "</tbody></table>"
    return f'<div class="scroll" tabindex="0">{body}</div>'


def row(name: str, *cells: str, words: str | None = None) -> str:
    """Return a row of a table, of HTML; `words` is a cell of its own at the end.

    >>> row("x", "0.5")
    '<tr><th scope="row">x</th><td>0.5</td></tr>'
    """
    last = f'<td class="words">{words}</td>' if words is not None else ""
    return f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + f"{last}</tr>"


def verdict(value: bool | None, yes: str, no: str) -> str:
    """Return a verdict in words, marked so that it stands out; None is "cannot tell".

    >>> verdict(None, "drifted", "no drift")
    '<span class="verdict untold">cannot tell</span>'
    """
    return mark("untold", UNTOLD) if value is None else mark("yes", yes) if value else mark("no", no)


def mark(kind: str, text: str) -> str:
    """Return a word or two that stand out; kinds are yes, maybe, no and untold.

    >>> mark("maybe", "not certain yet")
    '<span class="verdict maybe">not certain yet</span>'
    """
    return f'<span class="verdict {kind}">{text}</span>'


def finite(value: Any) -> bool:
    """Return whether there is a number to show.

    >>> finite(None), finite(float("nan")), finite(0)
    (False, False, True)
    """
    return value is not None and math.isfinite(value)


def number(value: Any) -> str:
    """Return a number with three significant digits, or a dash.

    >>> number(0.012345), number(None)
    ('0.0123', '–')
    """
    return f"{value:.3g}" if finite(value) else "–"


def metric(value: Any) -> str:
    """Return a metric with three decimals, or a dash.

    >>> metric(0.9), metric(None)
    ('0.900', '–')
    """
    return f"{value:.3f}" if finite(value) else "–"


def p_text(value: Any) -> str:
    """Return a p-value with four decimals, or a dash.

    >>> p_text(0.05), p_text(1e-9), p_text(None)
    ('0.0500', '< 0.0001', '–')
    """
    return "–" if not finite(value) else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def moment(time: str) -> str:
    """Return a time, in ISO 8601 and UTC, as people write it: to the minute.

    >>> moment("2026-11-24T10:00:00+00:00")
    '2026-11-24 10:00 UTC'
    """
    return str(time)[:16].replace("T", " ") + " UTC"
