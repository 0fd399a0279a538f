"""The dashboard (Streamlit): a folder for each page, with `page.py`, its logic and its figures.

Pages share only `shared/`. Logic and figures are pure functions of data. A page reads data through `shared.project`
and lays out the results.
"""
