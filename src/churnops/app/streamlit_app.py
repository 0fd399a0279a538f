"""The dashboard's entry: `churnops dashboard`, or `streamlit run src/churnops/app/streamlit_app.py`."""

import streamlit as st

from churnops.app import analysis, models, monitoring, predict
from churnops.app.project import guarded, project


def main() -> None:
    """Lay out the pages."""
    st.set_page_config(page_title="churnops", layout="wide")
    if project().settings.dashboard.login and not st.user.is_logged_in:
        st.title("churnops")
        st.button("Log in", on_click=st.login)
        return
    pages = [
        st.Page(guarded(predict.page), title="Predict", url_path="predict", default=True),
        st.Page(guarded(monitoring.page), title="Monitoring", url_path="monitoring"),
        st.Page(guarded(analysis.page), title="Analysis", url_path="analysis"),
        st.Page(guarded(models.page), title="Models", url_path="models"),
    ]
    st.navigation(pages).run()


if __name__ == "__main__":
    main()
