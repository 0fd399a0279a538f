"""Sentences, explanations and figures of a page, as plain text for everyone."""

import plotly.graph_objects as go
import streamlit as st

from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG

_MAX_LETTERS = 1_000  # per sentence


def say(sentence: str) -> None:
    """Show a sentence as plain text."""
    st.markdown(plain(sentence, limit=_MAX_LETTERS))


def note(sentence: str) -> None:
    """Show an explanation as plain text."""
    st.caption(plain(sentence, limit=_MAX_LETTERS))


def place(figure: go.Figure, sentence: str) -> None:
    """Show a figure, with a sentence for screen readers."""
    st.plotly_chart(figure, theme="streamlit", config=CONFIG, alt=one_line(sentence, _MAX_LETTERS))
