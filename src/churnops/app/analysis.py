"""Analysis: who leaves, why, and what an offer is worth."""

import streamlit as st

from churnops.app.project import Project


def page(project: Project) -> None:
    """Show the page."""
    st.title("Analysis")
