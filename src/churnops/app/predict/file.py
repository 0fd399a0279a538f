"""File of customers on the Predict page: upload, broken rules, download, and the customers most at risk."""

from collections.abc import Sequence

import streamlit as st

from churnops.app.predict.answers import Answers, Broken, Card, NotAnswered
from churnops.app.predict.upload import LARGER, MAX_MIB, MAX_ROWS, REASONS, ScoredUpload, score_file
from churnops.app.shared.text import plain
from churnops.model import Bundle
from churnops.scoring.csv_answer import csv_of
from churnops.words import percent

FILE = "predict:file"
ONE_DOWNLOAD = """<style>
.st-key-predict_risks [data-testid=stElementToolbarButton]:has([aria-label^="Download as CSV"]) { display: none; }
</style>"""
"""Hides the table's own download, which keeps formulas: the button "Download this list" has a safe one."""


def many(answering: Answers, card: Card, local: Bundle | None) -> None:
    """Show the upload of a file and its result."""
    needed = ", ".join(column.name for column in card.schema.model_inputs)
    st.text(
        f"A table of customers as CSV or Parquet, with at most {MAX_MIB} MiB and {MAX_ROWS:,} customers. If one row "
        "breaks a rule, nothing is scored."
    )
    file = st.file_uploader(
        "File of customers",
        ["csv", "parquet"],
        max_upload_size=MAX_MIB,
        help=plain(
            f"Columns, by these names or the raw table's headers: {needed}. Other columns are kept. {LARGER}", 2000
        ),
    )
    if file is None:
        st.session_state.pop(FILE, None)
        return
    lenient = st.checkbox(
        "Accept many unknown levels, empty cells and missing columns",
        help="An unknown level is scored as other. First check whether the spelling of a level or header changed.",
    )
    if st.button("Score the file", type="primary"):
        with st.spinner("Scoring"):
            try:
                result: ScoredUpload | NotAnswered = score_file(
                    file.name, file.getvalue(), answering, card, local, lenient=lenient
                )
            except NotAnswered as error:
                result = error
        st.session_state[FILE] = (file.file_id, result)
    identity, scored = st.session_state.get(FILE, (None, None))
    if identity != file.file_id:
        if answering.records:
            st.caption("Every customer of the file will be recorded in the API's journal.")
    elif isinstance(scored, NotAnswered):
        refusal(scored)
    elif scored is not None:
        _scored(scored, card)


def _scored(scored: ScoredUpload, card: Card) -> None:
    share = scored.leaving / scored.rows
    st.success(
        plain(
            f"{scored.leaving:,} of {scored.rows:,} customers ({percent(share)}) are predicted to leave: their "
            f"probability is at least {percent(card.threshold)}. Scored by {scored.version}."
        )
    )
    if scored.replaced:
        names = ", ".join(scored.replaced)
        st.caption(plain(f"Scoring adds columns of these names, so those of the file are replaced: {names}."))
    if scored.unexpected:
        st.warning("\n\n".join(plain(sentence, 600) for sentence in scored.unexpected))
    with st.container(horizontal=True):
        st.download_button(
            "Download the scored file",
            scored.content,
            scored.name,
            scored.media_type,
            type="primary",
            on_click="ignore",
        )
        content = csv_of(scored.risks, safe=True)
        st.download_button("Download this list", content, "customers-at-risk.csv", "text/csv", on_click="ignore")
    st.header("Customers most at risk")
    narrow = {name: st.column_config.Column(width="small") for name in ("Rank", "Row", "Risk")}
    chance = st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0, width="small")
    st.html(ONE_DOWNLOAD)
    with st.container(key="predict_risks"):
        st.dataframe(
            scored.risks,
            hide_index=True,
            width="stretch",
            height=480,
            column_config={**narrow, "Probability": chance},
            alt=f"{scored.risks.height:,} customers with the highest probability of leaving, highest first",
        )
    st.caption(
        f"The {scored.risks.height:,} customers with the highest probability, and {REASONS} reasons each. Row: the "
        "customer's place in the file, counted from 1."
    )


def refusal(error: NotAnswered) -> None:
    """Show a refusal and every broken rule."""
    st.error(plain(error, 600))
    if error.broken:
        _broken(error.broken)


def _broken(broken: Sequence[Broken]) -> None:
    st.dataframe(
        [{"Column": rule.column, "What is wrong": rule.problem, "First rows": rule.rows} for rule in broken],
        hide_index=True,
        width="stretch",
        alt="Every broken rule, with the first rows that break it",
    )
