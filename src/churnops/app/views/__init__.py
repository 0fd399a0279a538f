"""Figures of the dashboard, from data: pure functions that return Plotly figures, a file for each page."""
