"""Routes of the deployed model."""

from fastapi import APIRouter, Request, Response

from churnops.api.problems import Problem, documented
from churnops.api.routes.shared import admitted, as_json
from churnops.api.served import Served
from churnops.evaluation.labelled_scores import LABELLED_SCORES
from churnops.wire import HealthAnswer, ModelAnswer

router = APIRouter(tags=["model"])


@router.get(
    "/model",
    operation_id="get_model",
    summary="Describe the deployed model",
    response_model=ModelAnswer,
    responses=documented(400, 401, 403, 429, 503),
)
async def model(request: Request) -> Response:
    """Return the deployed model's version, metrics, schema, features and lineage."""
    service = admitted(request, "predict")
    served = service.model.require()
    absent = set() if served.bundle.decision_version else {"decision_version"}
    return as_json(_describe(served).model_dump(mode="json", by_alias=True, exclude=absent))


@router.post(
    "/model/reload",
    operation_id="reload_model",
    summary="Load the deployed model now",
    response_model=HealthAnswer,
    responses=documented(400, 401, 403, 409, 429, 503),
)
async def reload(request: Request) -> Response:
    """Load the deployed model now. The service itself loads a new deployment within a second."""
    service = admitted(request, "admin")
    await service.refresh_model(again=True)
    if service.model.refused:
        raise Problem(409, "model-refused", f"the deployed model is refused: {service.model.refused}")
    return as_json({"status": "ready", "model_version": service.model.require().version, "warnings": []})


def _describe(served: Served) -> ModelAnswer:
    bundle = served.bundle
    by_name = {feature.name: feature for feature in bundle.features}
    document = {
        "model_version": served.version,
        "algorithm": bundle.algorithm,
        "content_sha256": bundle.content_sha256,
        "deployment": served.folder,
        "loaded_at": served.loaded_at,
        "threshold": bundle.threshold,
        "decision_version": bundle.decision_version,
        "explanation_scale": bundle.explanation_scale,
        "base_value": bundle.base_value,
        "features": [vars(by_name[name]) for name in bundle.selected],
        "metrics": {name: value for name, value in bundle.metrics.items() if name != LABELLED_SCORES},
        "lineage": bundle.lineage,
        "schema": bundle.schema.model_dump(mode="json"),
    }
    return ModelAnswer.model_validate(document)
