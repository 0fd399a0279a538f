"""The browser reads Plotly, the largest thing it needs, while the first page is looked at: it takes half a second."""

from functools import cache
from pathlib import Path

import streamlit as st


def preload_figures() -> None:
    """Let the browser load what draws figures, once the page is there."""
    if html := preloading():
        st.html(html, unsafe_allow_javascript=True)


@cache
def preloading() -> str:
    """Return the only script of ours in a page: the same for everyone, and with nothing in it that is data.

    It is empty where the installed Streamlit has no such file; then the first figure loads what it needs.
    """
    scripts = Path(st.__file__).parent / "static" / "static" / "js"  # served as static/js
    name = next((script.name for script in scripts.glob("PlotlyChart.*.js")), "")
    script = f"import(new URL('static/js/{name}', document.baseURI)).catch(console.warn)"
    return f"<script>{script}</script>" if name else ""
