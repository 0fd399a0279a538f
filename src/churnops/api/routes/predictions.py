"""Route of recorded predictions."""

import re
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter

from churnops.api.problems import Problem, documented, journal_problem
from churnops.api.routes.shared import admitted, as_json
from churnops.errors import JournalError
from churnops.journal.journal import RecordedPrediction
from churnops.wire import RecordedAnswer

router = APIRouter(tags=["predictions"])

PREDICTION_ID = re.compile(r"[0-9a-f-]{36}")


@router.get(
    "/predictions/{prediction_id}",
    operation_id="get_prediction",
    summary="Get a recorded prediction",
    response_model=RecordedAnswer,
    responses=documented(400, 401, 403, 404, 429, 503),
)
async def prediction(request: Request, prediction_id: Annotated[str, PathParameter()]) -> Response:
    """Return a recorded prediction, with its outcome if it is known."""
    service = admitted(request, "predict")
    recorded = None
    if PREDICTION_ID.fullmatch(prediction_id):
        try:
            recorded = await service.work.ask(request.receive, service.journal.prediction, prediction_id)
        except JournalError as error:
            raise journal_problem(error) from None
    if recorded is None:
        raise Problem(404, "unknown-prediction", "no prediction has this id")
    return as_json(_as_answered(recorded).model_dump(mode="json"))


def _as_answered(recorded: RecordedPrediction) -> RecordedAnswer:
    row, layout = recorded.row, recorded.row.layout
    different = {
        "prediction_id": row.id,
        "model_version": layout.model_version,
        "content_sha256": layout.content_sha256,
        "base_value": layout.base_value,
        "explanation_scale": layout.explanation_scale,
        "top_shap_features": row.top_shap_features,
        "inputs": row.record,
        "outcome": {"churned": recorded.churned, "known_at": recorded.known_at},
    }
    return RecordedAnswer.model_validate(row._asdict() | different)
