"""Preloading of Plotly, the dashboard's largest file (half a second), while the user reads the first page."""

from functools import cache
from pathlib import Path

import streamlit as st


def preload_figures() -> None:
    """Let the browser load Plotly after the page is shown."""
    if html := preloading():
        st.html(html, unsafe_allow_javascript=True)


@cache
def preloading() -> str:
    """Return the one script that churnops adds to the dashboard; it loads Plotly.

    The script is the same for all users and contains no data. The result is empty if the installed Streamlit has no
    file `PlotlyChart.*.js`. Then the first figure loads Plotly.
    """
    scripts = Path(st.__file__).parent / "static" / "static" / "js"  # served as static/js
    name = next((script.name for script in scripts.glob("PlotlyChart.*.js")), "")
    script = f"import(new URL('static/js/{name}', document.baseURI)).catch(console.warn)"
    return f"<script>{script}</script>" if name else ""
