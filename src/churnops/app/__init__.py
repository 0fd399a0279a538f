"""The dashboard (Streamlit): predict, monitoring, analysis and models, one file a page.

`views` makes figures from data and knows nothing of Streamlit; `project` reads what pages show; pages only place it.
"""
