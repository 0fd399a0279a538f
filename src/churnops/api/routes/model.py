"""The deployed model."""

from fastapi import APIRouter, Request, Response

from churnops.api.documents import HealthAnswer, ModelAnswer
from churnops.api.problems import Problem, documented
from churnops.api.routes.shared import admitted, as_json

router = APIRouter()


@router.get("/model", response_model=ModelAnswer, responses=documented(400, 401, 403, 429, 503))
async def model(request: Request) -> Response:
    """Describe the model that answers: version, metrics, schema, features, lineage."""
    service = admitted(request, "predict")
    return as_json(ModelAnswer.of(service.model.require()).model_dump(mode="json", by_alias=True))


@router.post("/model/reload", response_model=HealthAnswer, responses=documented(400, 401, 403, 409, 429, 503))
async def reload(request: Request) -> Response:
    """Load the deployed model now. The service finds a new deployment by itself within a second."""
    service = admitted(request, "admin")
    await service.refresh_model(again=True)
    if service.model.refused:
        raise Problem(409, "model-refused", f"the deployed model is refused: {service.model.refused}")
    return as_json({"status": "ready", "model_version": service.model.require().version, "warnings": []})
