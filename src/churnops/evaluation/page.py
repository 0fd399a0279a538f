"""A self-contained HTML page for figures and a table: opens offline, runs nothing, follows light and dark mode."""

import html
from collections.abc import Sequence

_CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --desk: #f5f7f9;
  --ink: #1f2933; --muted: #5f6b7a; --grid: #dfe4ea; --main: #0072b2; --second: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --paper: #1b222b; --desk: #12171d;
  --ink: #e6eaf0; --muted: #a3aebb; --grid: #333d49; --main: #56b4e9; --second: #e69f00; } }
body { margin: 0 auto; padding: 2rem 1.25rem; max-width: 70rem; background: var(--desk); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
p { margin: .4rem 0 1.6rem; color: var(--muted); }
table, figure { background: var(--paper); border: 1px solid var(--grid); border-radius: .5rem; }
table { margin: 0 0 1.25rem; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem 1rem; text-align: right; }
th:first-child { text-align: left; font-weight: 500; }
thead th { color: var(--muted); font-size: .85rem; font-weight: 500; }
tbody th, tbody td { border-top: 1px solid var(--grid); }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.25rem; }
figure { margin: 0; padding: .75rem 1rem 1rem; max-width: 40rem; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: .5rem; color: var(--muted); font-size: .9rem; }
"""
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


def html_page(title: str, body: str, style: str = "") -> str:
    """Return a page of a body, in HTML, that may load and run nothing; `style` is added to the common style sheet.

    >>> "<title>A &lt;b&gt; title</title>" in html_page("A <b> title", "<p>as it is</p>")
    True
    """
    return _PAGE.format(title=html.escape(title), style=_CSS + style, body=body)


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
