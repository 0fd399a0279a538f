"""Models: what was in production when, and why."""

import streamlit as st

from churnops.app.project import Project


def page(project: Project) -> None:
    """Show the page."""
    st.title("Models")
