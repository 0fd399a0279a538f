"""The dashboard's entry: `churnops dashboard`, or `streamlit run src/churnops/app/streamlit_app.py`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from churnops.app.upload_limit import MIDDLEWARE
from churnops.port import address


@asynccontextmanager
async def announced(_app: Any) -> AsyncIterator[None]:
    """Print the address; Streamlit binds the port before."""
    url = address(st.get_option("server.address"), st.get_option("server.port"))
    sys.stderr.write(f"{url}  (Ctrl-C stops)\n")
    yield


app = st.App(Path(__file__).with_name("pages.py").resolve(), middleware=MIDDLEWARE, lifespan=announced)
