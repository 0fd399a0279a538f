"""A self-contained HTML page for figures and a table: opens offline, runs nothing, follows light and dark mode."""

from collections.abc import Sequence

from churnops.templates import render


def page(
    title: str,
    summary: str,
    figures: Sequence[tuple[str, str]],
    table: Sequence[Sequence[str]] | None,
) -> str:
    """Return one self-contained HTML page that follows the reader's light or dark mode.

    Parameters
    ----------
    title, summary : str
        Plain text, escaped here, as are captions and cells.
    figures : sequence of (caption, svg)
        The SVG is put in as it is: only give what `plots` drew.
    table : sequence of rows, or None
        The first row is the header, the first column names the row.

    Examples
    --------
    >>> "<h1>A &lt;b&gt; title</h1>" in page("A <b> title", "", [], None)
    True
    """
    return render("evaluation.html", title=title, summary=summary, figures=figures, table=table)
