"""The dashboard's entry: `churnops dashboard`, or `streamlit run src/churnops/app/streamlit_app.py`."""

from pathlib import Path

import streamlit as st

from churnops.app.upload_limit import MIDDLEWARE

app = st.App(Path(__file__).with_name("pages.py").resolve(), middleware=MIDDLEWARE)
