"""The dashboard (Streamlit): a folder a page, each with `page.py`, its logic and its figures.

Pages share only `shared/`. Logic and figures are pure functions of data; a page reads data through `shared.project`
and places what they return.
"""
