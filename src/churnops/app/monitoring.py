"""Monitoring: can the model still be believed."""

import streamlit as st

from churnops.app.project import Project


def page(project: Project) -> None:
    """Show the page."""
    st.title("Monitoring")
