"""HTML pages from Jinja2 templates: all text is escaped, and a page loads nothing from other addresses.

A page gets texts and figures as values; its layout is in the template. Only figures that `evaluation.plots` or
`monitoring.figures` drew are marked as safe.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_UNPRINTABLE = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: object) -> str:
    r"""Remove the characters that XML does not allow, such as most control characters.

    >>> printable("a\x07b")
    'ab'
    """
    return _UNPRINTABLE.sub("", str(text))


def render(template: str, **values: Any) -> str:
    """Render a template of this folder. A missing value is an error.

    >>> "<title>A &lt;b&gt; title</title>" in render("base.html", title="A <b> title")
    True
    """
    return _environment().get_template(template).render(values)


def macro(template: str, name: str) -> Callable[..., str]:
    """Return a macro of a template, to render a part of a page."""
    part: Callable[..., str] = getattr(_environment().get_template(template).module, name)
    return part


@cache
def _environment() -> "Environment":
    # Imported here, so that a process loads Jinja2 only when it renders its first page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    environment.filters["grouped"] = "{:,}".format
    return environment
