"""Predict page: one customer or a file, with reasons."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import streamlit as st

from churnops.app.predict.answers import Answer, Answers, Card, Customer, NotAnswered
from churnops.app.predict.api_answers import answers
from churnops.app.predict.figures import summary, waterfall
from churnops.app.predict.file import many, refusal
from churnops.app.predict.form import HIGH, LOW, TYPICAL, Field, customer, encoded, fields, presets
from churnops.app.predict.risk import Reason, feature_values, level, reasons, rest
from churnops.app.predict.what_if import vary
from churnops.app.shared.health import deployed_health
from churnops.app.shared.project import NO_MODEL, production
from churnops.app.shared.text import plain
from churnops.app.shared.theme import CONFIG
from churnops.errors import BundleError
from churnops.model import Bundle
from churnops.project import Project
from churnops.words import percent

ANSWER, FILLED = "predict:answer", "predict:filled"
CARD_SECONDS = 5  # lifetime of the cached description of the API's model
RESULT_FIRST = """<style>@media (max-width: 640px) {
.st-key-predict_one > [data-testid=stLayoutWrapper] > [data-testid=stHorizontalBlock] { flex-wrap: wrap-reverse; }
}</style>"""
"""Puts the result above the form on a phone."""


def page(project: Project) -> None:
    """Show the page."""
    st.title("Predict")
    through_api = bool(project.settings.dashboard.api_url)
    bundle = _deployed(project, needed=not through_api)
    answering = answers(project.settings, bundle)
    if answering is None:
        st.info(NO_MODEL)
        return
    try:
        card = _card(project.settings.dashboard.api_url, answering) if through_api else answering.card()
    except NotAnswered as error:
        st.error(plain(error))
        st.button("Try again")
        return
    local = bundle if bundle and bundle.version_name == card.version else None
    if local:
        card = Card.of(local)  # the API does not send labels of derived features
    recorded = "Predictions are recorded in its journal." if answering.records else "Nothing is recorded."
    st.caption(f"Predictions by {plain(answering.source)}, model {plain(card.version)}. {recorded}")
    _unreliable(project, local)
    alone, file = st.tabs(["One customer", "A file of customers"])
    with alone:
        _one(project, answering, card, local)
    with file:
        many(answering, card, local)


def _unreliable(project: Project, local: Bundle | None) -> None:
    """Warn above all scores if monitoring found that they cannot be relied on."""
    health = deployed_health(project, local) if local else None
    if health is not None and health.level == "bad":
        st.warning(f"**Do not rely on these scores yet.** {plain(health.sentence)} See *Monitoring*.")


def _deployed(project: Project, *, needed: bool) -> Bundle | None:
    try:
        return production(project)
    except BundleError:
        if needed:
            raise
        return None  # the API predicts; the local model only helps to explain


@st.cache_resource(ttl=CARD_SECONDS, show_spinner=False)
def _card(url: str, _answers: Answers) -> Card:
    return _answers.card()


@st.cache_resource(max_entries=4, show_spinner=False)
def _presets(version: str, models: str, _bundle: Bundle, _project: Project) -> Mapping[str, Customer]:
    return presets(_bundle, _project.models)


def _one(project: Project, answering: Answers, card: Card, local: Bundle | None) -> None:
    shown = fields(card.schema, local.reference if local else None)
    st.html(RESULT_FIRST)
    left, right = st.container(key="predict_one").columns([5, 6], gap="large")
    with left:
        if local:  # the API has no customers to start from
            _start_from(_presets(local.content_sha256, str(project.models), local, project), shown)
        _form(shown, answering, card)
    with right:
        kept = st.session_state.get(ANSWER)
        if isinstance(kept, NotAnswered):
            refusal(kept)
        elif kept is None:
            st.info("Fill in the form, or start from a real customer, and press Predict.")
        else:
            _answered(kept[0], kept[1], card, local)
    if isinstance(kept, tuple):
        vary(kept[0], kept[1], card, local, project.settings.table)


def _start_from(customers: Mapping[str, Customer], shown: Sequence[Field]) -> None:
    """Offer real customers; at first, the form holds the typical one."""
    if FILLED not in st.session_state:
        _fill(customers[TYPICAL], shown)
    st.caption("Start from a real customer in the training data, with the highest, the median or the lowest risk:")
    with st.container(horizontal=True):
        for name in (HIGH, TYPICAL, LOW):
            st.button(name, on_click=_fill, args=(customers[name], shown))


def _fill(given: Customer, shown: Sequence[Field]) -> None:
    st.session_state[FILLED] = True
    for field in shown:
        value = given.get(field.name)
        if value is not None and field.kind in ("number", "date"):
            value = float(value) if field.kind == "number" else date.fromisoformat(value[:10])
        st.session_state[_key(field)] = value


def _key(field: Field) -> str:
    # Models may have fields of the same name with other choices or limits: the key keeps their values apart.
    return f"predict:{field.name}:{field.kind}:{','.join(field.choices)}:{field.minimum}:{field.maximum}"


def _form(shown: Sequence[Field], answering: Answers, card: Card) -> None:
    values: dict[str, Any] = {}
    with st.form("predict:form"):
        _inputs([field for field in shown if field.needed], values)
        extra = [field for field in shown if not field.needed]
        if extra:
            with st.expander("More about the customer (not read by the model)"):
                _inputs(extra, values)
        if not st.form_submit_button("Predict", type="primary", width="stretch"):
            return
    try:
        given = customer(shown, values)
        answer = answering.one(given)
        if answer.version != card.version:
            _card.clear()
        st.session_state[ANSWER] = (given, answer)
    except NotAnswered as error:
        st.session_state[ANSWER] = error


def _inputs(shown: Sequence[Field], values: dict[str, Any]) -> None:
    """Draw inputs in two columns; their order is from left to right, then down."""
    for start in range(0, len(shown), 2):
        beside = st.columns(2, vertical_alignment="bottom")
        for column, field in zip(beside, shown[start : start + 2], strict=False):
            with column:
                values[field.name] = _input(field)


def _input(field: Field) -> Any:
    label, description, key = plain(field.label), plain(field.help) or None, _key(field)
    # A required field is empty until it has a value, such as a real customer's. Then it cannot be emptied again.
    clearable = field.may_be_empty or st.session_state.setdefault(key, None) is None
    if field.kind == "choice":
        return st.selectbox(
            label,
            field.choices,
            index=None if clearable else 0,
            key=key,
            help=description,
            placeholder="not known",
            persist_state="session",
        )
    if field.kind == "text":
        return st.text_input(label, value=None, key=key, help=description, max_chars=128, persist_state="session")
    if field.kind == "date":
        return st.date_input(
            label,
            value=None,
            min_value=date.min,
            max_value=date.max,
            key=key,
            help=description,
            persist_state="session",
        )
    number: type[int] | type[float] = int if field.kind == "integer" else float
    low, high = (None if limit is None else number(limit) for limit in (field.minimum, field.maximum))
    options: dict[str, Any] = {"min_value": low, "max_value": high, "step": number(field.step)}
    return st.number_input(
        label,
        value=None if clearable else "min",
        key=key,
        help=description,
        placeholder="not known",
        format="%d" if number is int else "%.6g",
        persist_state="session",
        **options,
    )


def _answered(given: Customer, answer: Answer, card: Card, local: Bundle | None) -> None:
    """Show the probability, its level of risk, and the reasons."""
    if answer.version != card.version:
        st.warning(
            f"This prediction is by {plain(answer.version)}, but {plain(card.version)} is deployed now. Predict again."
        )
    risk = level(answer.probability, card.threshold)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.metric("Probability of leaving", percent(answer.probability), width="content")
        st.badge(risk.word, color=risk.colour)  # type: ignore[arg-type]
    st.text(risk.sentence)
    # The customer may not fit the schema of a model that was deployed after the answer.
    values = _values(given, card, local) if answer.version == card.version else {}
    why = reasons(answer, card, values)
    others = max(len(card.features) - len(why), 0)
    sentence = summary(why, base=answer.base_value, probability=answer.probability, scale=answer.scale)
    st.plotly_chart(
        waterfall(why, base=answer.base_value, rest=rest(answer), scale=answer.scale, others=others),
        theme="streamlit",
        config=CONFIG,
        key="predict:waterfall",
        alt=sentence,
    )
    st.caption(plain(sentence))
    with st.expander("Reasons as a table"):
        _reasons(why, answer)
    if answer.prediction_id:
        st.caption(f"Recorded as {plain(answer.prediction_id)}.")


def _values(given: Customer, card: Card, local: Bundle | None) -> dict[str, float]:
    columns = encoded(given, card.schema)
    return {name: values[0] for name, values in feature_values(card, local, columns).items()}


def _reasons(why: Sequence[Reason], answer: Answer) -> None:
    st.dataframe(
        [
            {
                "Feature": reason.name,
                "Value": reason.value,
                "Effect": reason.effect,
                f"On the {answer.scale} scale": round(reason.contribution, 4),
                "Meaning": reason.description,
            }
            for reason in why
        ],
        hide_index=True,
        width="stretch",
        alt="The largest reasons for this customer's probability",
    )
