"""Answers by the API of the settings: what it sends is checked, and every failure is a line that says what to do."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from churnops.app.predict.answers import (
    BATCH,
    MEDIA_TYPES,
    Answer,
    AnsweredFile,
    Answers,
    Broken,
    BundleAnswers,
    Card,
    Customer,
    Kind,
    NotAnswered,
)
from churnops.app.shared.text import one_line
from churnops.client import JSON, MAX_ANSWER_BYTES, Client, NoReply, Reply
from churnops.data.batches import open_batches
from churnops.errors import DataError
from churnops.features.build import Feature
from churnops.files import temporary_file
from churnops.model import Bundle
from churnops.schema import Schema
from churnops.scoring.table import EXPLANATIONS
from churnops.settings import ENV_DASHBOARD_KEY, Settings

CARD_SECONDS, ANSWER_SECONDS, FILE_SECONDS = 3.0, 10.0, 300.0
MAX_SCORED_BYTES = 256 * 2**20
PROBLEM = "urn:churnops:problem:"


class _Form(BaseModel):
    """What the API sends, checked: it is another process, maybe of another version."""


_Name = Annotated[str, Field(max_length=500)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Scale = Literal["log-odds", "probability"]


class _Share(_Form):
    feature: _Name
    shap_value: _Finite


class _Prediction(_Form):
    prediction_id: _Name
    churn_probability: Annotated[float, Field(ge=0.0, le=1.0)]
    churn_prediction: bool
    base_value: _Finite
    explanation_scale: _Scale
    top_shap_features: Annotated[list[_Share], Field(max_length=100)]
    model_version: _Name


class _Feature(_Form):
    name: _Name
    expression: Annotated[str, Field(max_length=1000)]
    description: Annotated[str, Field(max_length=10_000)]


class _Model(_Form):
    model_version: _Name
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)]
    explanation_scale: _Scale
    features: Annotated[list[_Feature], Field(max_length=2000)]
    table: Schema = Field(alias="schema")


class ApiAnswers:
    """The API of the settings. What it answers is recorded in its journal."""

    records = True

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._client = Client(url, key, setting="dashboard.api_url", variable=ENV_DASHBOARD_KEY)
        self.source = f"the API at {url}"

    def card(self) -> Card:
        """See `Answers`."""
        found = self._read(self._ask("GET", "/model", CARD_SECONDS), _Model)
        features = {
            feature.name: Feature(feature.name, feature.expression, feature.description) for feature in found.features
        }
        return Card(found.model_version, found.threshold, found.explanation_scale, found.table, features)

    def one(self, customer: Customer) -> Answer:
        """See `Answers`."""
        body = json.dumps(dict(customer)).encode()
        found = self._read(self._ask("POST", "/predict", ANSWER_SECONDS, body), _Prediction)
        contributions = tuple((share.feature, share.shap_value) for share in found.top_shap_features)
        return Answer(
            found.churn_probability,
            found.churn_prediction,
            found.base_value,
            found.explanation_scale,
            contributions,
            found.model_version,
            found.prediction_id,
        )

    def file(self, path: Path, kind: Kind) -> AnsweredFile:
        """See `Answers`."""
        reply = self._ask(
            "POST", "/predict/batch", FILE_SECONDS, path.read_bytes(), MEDIA_TYPES[kind], MAX_SCORED_BYTES
        )
        file, scored = temporary_file(f".{kind}")
        with file:
            file.write(reply.content)
            file.flush()
            try:
                table = pl.concat(open_batches(scored, rows=BATCH, format=kind))
            except DataError:
                raise self._stranger(reply.status) from None
        if not {"churn_probability", "model_version", EXPLANATIONS} <= set(table.columns):
            raise self._stranger(reply.status)
        return AnsweredFile(reply.content, table)

    def _ask(
        self,
        method: str,
        path: str,
        seconds: float,
        body: bytes = b"",
        media_type: str = JSON,
        most: int = MAX_ANSWER_BYTES,
    ) -> Reply:
        try:
            reply = self._client.ask(method, path, seconds=seconds, body=body, media_type=media_type, most=most)
        except NoReply as error:
            raise NotAnswered(
                f"The API at {self._url} {error}. Start it with `churnops serve`, or leave dashboard.api_url empty to "
                "ask the deployed model itself."
            ) from None
        if reply.status == 200:
            return reply
        raise self._refusal(reply)

    def _refusal(self, reply: Reply) -> NotAnswered:
        document, status = reply.document(), reply.status
        kind = document.get("type") if isinstance(document, dict) else None
        if not isinstance(kind, str) or not kind.startswith(PROBLEM):
            return self._stranger(status)
        detail = one_line(document.get("detail", ""), 400)
        if status in (401, 403):
            return NotAnswered(
                f"The API at {self._url} wants a key with the scope predict. Make one with `churnops keys add NAME "
                f"--scope predict`, put it into {ENV_DASHBOARD_KEY} and start the dashboard again."
            )
        if status == 429:
            return NotAnswered(f"The API at {self._url} is asked too often. Wait a moment and try again.")
        if status in (400, 413, 415, 422):
            return NotAnswered(f"The API refuses this: {detail}.", _listed(document.get("errors")))
        return NotAnswered(f"The API at {self._url} cannot answer now: {detail}. Try again in a moment.")

    def _stranger(self, status: int) -> NotAnswered:
        return NotAnswered(
            f"What is at {self._url} does not answer as the API of churnops does (status {status}). "
            "Check dashboard.api_url."
        )

    def _read(self, reply: Reply, form: type["_Form"]) -> Any:
        try:
            return form.model_validate(reply.document())
        except ValidationError:
            raise self._stranger(reply.status) from None


def answers(settings: Settings, bundle: Bundle | None) -> Answers | None:
    """Return who answers by the settings; None if that is the deployed model and there is none.

    Raises
    ------
    SettingsError
        If the API's address or key cannot be one.
    """
    if settings.dashboard.api_url:
        return ApiAnswers(settings.dashboard.api_url, settings.dashboard.api_key)
    return BundleAnswers(bundle) if bundle else None


def _listed(errors: object) -> tuple[Broken, ...]:
    """Return what the API lists as broken, if it does."""
    items = [item for item in errors[:100] if isinstance(item, dict)] if isinstance(errors, list) else []
    return tuple(
        Broken(
            one_line(item.get("field") or "", 100), one_line(item.get("message", "")), one_line(item.get("row", ""), 20)
        )
        for item in items
    )
