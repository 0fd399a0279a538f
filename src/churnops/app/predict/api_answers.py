"""Predictions by the API in the settings: answers are checked, and each failure is one line with its remedy."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import polars as pl
from pydantic import ValidationError

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
from churnops.data.accepted import Accepted
from churnops.data.batches import open_batches
from churnops.errors import DataError
from churnops.features.build import Feature
from churnops.files import temporary_file
from churnops.model import Bundle
from churnops.schema import Schema
from churnops.scoring.csv_answer import with_formulas
from churnops.scoring.table import EXPLANATIONS
from churnops.settings import ENV_DASHBOARD_KEY, Settings
from churnops.wire import FieldError, ModelAnswer, PredictionAnswer

CARD_SECONDS, ANSWER_SECONDS, FILE_SECONDS = 3.0, 10.0, 300.0
MAX_SCORED_BYTES = 256 * 2**20
T = TypeVar("T")


class ApiAnswers:
    """Predictions by the API in the settings, which records them in its journal."""

    records = True

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._client = Client(url, key, setting="dashboard.api_url", variable=ENV_DASHBOARD_KEY)
        self.source = f"the API at {url}"

    def card(self) -> Card:
        """See `Answers`."""
        reply = self._ask("/model", CARD_SECONDS)
        model = self._read(reply, ModelAnswer)
        try:
            schema = Schema.model_validate(model.table)
        except ValidationError:
            raise self._not_our_api(reply.status) from None
        features = {
            feature.name: Feature(feature.name, feature.expression, feature.description) for feature in model.features
        }
        return Card(model.model_version, model.threshold, model.explanation_scale, schema, features)

    def one(self, customer: Customer) -> Answer:
        """See `Answers`."""
        body = json.dumps(dict(customer)).encode()
        answer = self._read(self._ask("/predict", ANSWER_SECONDS, body), PredictionAnswer)
        contributions = tuple((share.feature, share.shap_value) for share in answer.top_shap_features)
        return Answer(
            answer.churn_probability,
            answer.churn_prediction,
            answer.base_value,
            answer.explanation_scale,
            contributions,
            answer.model_version,
            answer.prediction_id,
        )

    def file(self, path: Path, kind: Kind, *, lenient: bool = False) -> AnsweredFile:
        """See `Answers`."""
        query = ""
        if lenient:
            missing = sorted(Accepted.everything(self.card().schema).missing)
            query = "?" + urlencode({"accept_unknown": "true", "accept_missing": missing}, doseq=True)
        content = path.read_bytes()
        reply = self._ask(f"/predict/batch{query}", FILE_SECONDS, content, MEDIA_TYPES[kind], MAX_SCORED_BYTES)
        file, scored = temporary_file(f".{kind}")
        with file:
            file.write(reply.content)
            file.flush()
            try:
                table = with_formulas(pl.concat(open_batches(scored, rows=BATCH, format=kind)))
            except DataError:
                raise self._not_our_api(reply.status) from None
        if not {"churn_probability", "model_version", EXPLANATIONS} <= set(table.columns):
            raise self._not_our_api(reply.status)
        return AnsweredFile(reply.content, table)

    def _ask(
        self,
        path: str,
        seconds: float,
        body: bytes | None = None,
        media_type: str = JSON,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Reply:
        try:
            reply = self._client.ask(path, seconds=seconds, body=body, media_type=media_type, max_bytes=max_bytes)
        except NoReply as error:
            raise NotAnswered(
                f"The API at {self._url} {error}. Start it with `churnops serve`, or leave dashboard.api_url empty to "
                "use the deployed model on this machine."
            ) from None
        if reply.status == 200:
            return reply
        raise self._refusal(reply)

    def _refusal(self, reply: Reply) -> NotAnswered:
        problem, status = reply.problem(), reply.status
        if problem is None:
            return self._not_our_api(status)
        detail = one_line(problem.detail, 400)
        if status in (401, 403):
            return NotAnswered(
                f"The API at {self._url} requires a key with the scope predict. Make one with `churnops keys add NAME "
                f"--scope predict`, put it into {ENV_DASHBOARD_KEY} and start the dashboard again."
            )
        if status == 429:
            return NotAnswered(f"The API at {self._url} received too many requests. Wait a moment and try again.")
        if status in (400, 413, 415, 422):
            return NotAnswered(f"The API refuses the request: {detail}.", _listed(problem.errors or ()))
        return NotAnswered(f"The API at {self._url} cannot answer now: {detail}. Try again in a moment.")

    def _not_our_api(self, status: int) -> NotAnswered:
        return NotAnswered(
            f"The server at {self._url} does not answer as the API of churnops does (status {status}). "
            "Check dashboard.api_url."
        )

    def _read(self, reply: Reply, kind: type[T]) -> T:
        answer = reply.read(kind)
        if answer is None:
            raise self._not_our_api(reply.status)
        return answer


def answers(settings: Settings, bundle: Bundle | None) -> Answers | None:
    """Return the source of predictions: the API if the settings name one, else the deployed model, if any.

    Raises
    ------
    SettingsError
        If the API's address or key is malformed.
    """
    if settings.dashboard.api_url:
        return ApiAnswers(settings.dashboard.api_url, settings.dashboard.api_key)
    return BundleAnswers(bundle, safe_csv=settings.safe_csv) if bundle else None


def _listed(errors: Sequence[FieldError]) -> tuple[Broken, ...]:
    return tuple(
        Broken(
            one_line(error.field or "", 100),
            one_line(error.message),
            "" if error.row is None else one_line(error.row, 20),
        )
        for error in errors[:100]
    )
