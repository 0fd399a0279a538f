"""Name and icon of the product, and colours that Streamlit's options cannot set."""

from base64 import b64encode

import streamlit as st

_MARK = (
    '<rect width="32" height="32" rx="8" fill="#0072B2"/>'
    '<path d="M7 8c3 10 8 14 18 15" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/>'
    '<circle cx="25" cy="23" r="3.5" fill="#E69F00"/>'
)
ICON = f'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">{_MARK}</svg>'
"""A retention curve."""
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="144" height="32" viewBox="0 0 144 32">'
    "<style>text { fill: #111 } @media (prefers-color-scheme: dark) { text { fill: #fff } }</style>"
    f'{_MARK}<text x="42" y="23" font-family="Source Sans 3, Segoe UI, Helvetica, Arial, sans-serif" font-size="21" '
    'font-weight="600" textLength="98" lengthAdjust="spacingAndGlyphs">churnops</text></svg>'
)
READABLE = """<style>
.js-plotly-plot :is(.infolayer, [class$=tick]) text { fill: currentColor !important; }
[data-testid=stCaptionContainer] code { color: inherit; }
button[kind^=primary] { background-color: #0072B2; border-color: #0072B2; }
button[kind^=primary]:hover { background-color: #005C8F; border-color: #005C8F; }
</style>"""
"""Raises contrasts: the texts of figures and commands in captions have the colour of the text around them, and main
buttons have a blue on which white is readable."""


def brand() -> None:
    """Set the page's title and icon, and show the logo; call it before all other elements."""
    address = "data:image/svg+xml;base64," + b64encode(ICON.encode()).decode()
    st.set_page_config(page_title="churnops", page_icon=address, layout="wide")
    st.logo(LOGO, icon_image=ICON, size="large")
    st.html(READABLE)
