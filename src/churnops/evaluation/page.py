"""A self-contained HTML page for figures and a table: opens offline, runs nothing, follows light and dark mode."""

import html
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


@cache
def stylesheet(package: str, name: str) -> str:
    """Return a style sheet of a package, on lines of its own."""
    return "\n" + files(package).joinpath(name).read_text(encoding="utf-8")


def html_page(title: str, body: str, style: str = "") -> str:
    """Return a page of a body, in HTML, that may load and run nothing; `style` is added to the common style sheet.

    >>> "<title>A &lt;b&gt; title</title>" in html_page("A <b> title", "<p>as it is</p>")
    True
    """
    return _PAGE.format(
        title=html.escape(title), style=stylesheet("churnops.evaluation", "page.css") + style, body=body
    )


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
    name, text = html.escape(title), html.escape(summary)
    drawn = "\n".join(
        f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>" for caption, svg in figures
    )
    shown = _table(table) if table else ""
    return html_page(title, f"<h1>{name}</h1>\n<p>{text}</p>\n{shown}\n<main>\n{drawn}\n</main>")


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in rows[0])
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[1:]
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
