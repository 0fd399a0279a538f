"""Predict: one customer or a file, with reasons."""

import streamlit as st

from churnops.app.project import Project


def page(project: Project) -> None:
    """Show the page."""
    st.title("Predict")
