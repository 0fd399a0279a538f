"""The dashboard's pages: the script that Streamlit runs for each session; `streamlit_app.py` serves it."""

from importlib.util import find_spec

import streamlit as st

from churnops import __version__
from churnops.app.analysis.page import page as analysis
from churnops.app.call_list.page import page as calls
from churnops.app.experiments.page import page as experiments
from churnops.app.models.page import page as models
from churnops.app.monitoring.page import page as monitoring
from churnops.app.policy.page import page as policy
from churnops.app.predict.page import page as predict
from churnops.app.preload import preload_figures
from churnops.app.shared.access import LOGIN_MISSING, login_state, person, wrong_name
from churnops.app.shared.brand import brand
from churnops.app.shared.project import guarded, production, project
from churnops.app.shared.text import plain
from churnops.errors import ChurnopsError
from churnops.project import Project


def main() -> None:
    """Lay out the pages for a browser that may see them."""
    brand()
    try:
        settings = project().settings
    except ChurnopsError as error:
        st.title("churnops")
        st.error(plain(error, 500))
        return
    login = settings.dashboard.login
    if not _admitted(login):
        return
    if settings.banner:
        st.warning(settings.banner, icon=":material/science:")
    pages = [
        st.Page(guarded(calls), title="Call list", url_path="call-list", default=True),
        st.Page(guarded(policy), title="Policy", url_path="policy"),
        st.Page(guarded(predict, draws=False), title="Predict", url_path="predict"),
        st.Page(guarded(monitoring), title="Monitoring", url_path="monitoring"),
        st.Page(guarded(analysis), title="Analysis", url_path="analysis"),
        st.Page(guarded(models), title="Models", url_path="models"),
        st.Page(guarded(experiments), title="Experiments", url_path="experiments"),
    ]
    page = st.navigation(pages)
    st.set_page_config(page_title=f"{page.title} · churnops")
    with st.sidebar:
        st.markdown(_deployed(project()))
        st.caption(f"churnops {__version__}")
        if login:
            st.caption(f"Logged in as {plain(person(st.user), 100)}")
            st.button("Log out", on_click=st.logout)
    page.run()
    preload_figures()


def _deployed(opened: Project) -> str:
    """Name the deployed model, as Markdown."""
    try:
        bundle = production(opened)
    except ChurnopsError:
        return "The deployed model cannot be read"
    return "No model is deployed" if bundle is None else f"**Deployed model**  \n{plain(bundle.version_name, 100)}"


def _admitted(login: bool) -> bool:
    """Return whether this browser may see the pages; if not, show the reason or a login button."""
    host = st.context.headers.get("Host")
    refused = wrong_name(host, st.get_option("server.address"), st.get_option("server.allowedHosts"), login=login)
    state = login_state(st.user)
    if refused is None and (state is True or not login):
        return True
    st.title("churnops")
    if refused is not None:
        st.error(refused)
    elif state is None or find_spec("authlib") is None:
        st.error(LOGIN_MISSING)
    else:
        st.write("Log in to see call lists, the policy, predictions, monitoring, analysis, models and experiments.")
        st.button("Log in", on_click=st.login, type="primary")
    return False


if __name__ == "__main__":
    main()
