"""What the service describes about itself: answers as models, and the OpenAPI document of the model that answers."""

import json
from datetime import datetime
from typing import Any, Literal, Self

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from churnops.api.body import JSON
from churnops.api.customers import PredictionAnswer, ProbeAnswer, ShapFeature
from churnops.api.labels import LabelBody
from churnops.api.problems import REFUSALS, ProblemBody, documented
from churnops.api.served import Served
from churnops.api.uploads.formats import UPLOADS
from churnops.journal.journal import RecordedPrediction

MAX_PROBES = 64
_REFERENCE = "#/components/schemas/{model}"
PREDICT = "Score and explain one customer. The answer is recorded before it is sent."
OPEN = ("/", "/health/live", "/health/ready")


class HealthAnswer(BaseModel):
    """How the service is; `warnings` say what needs attention while it answers."""

    status: Literal["live", "ready"]
    model_version: str | None
    warnings: list[str]


class Outcome(BaseModel):
    """What became of the customer, as far as it is known; `churned` is null while it is not."""

    churned: bool | None
    known_at: datetime | None


class RecordedAnswer(BaseModel):
    """A prediction as it was answered, what it was answered from, and its outcome."""

    prediction_id: str
    at: datetime
    customer_id: str | None
    model_version: str
    churn_probability: float
    churn_prediction: bool
    base_value: float | None
    explanation_scale: str | None
    top_shap_features: list[ShapFeature] | None
    inputs: dict[str, Any]
    outcome: Outcome

    @classmethod
    def of(cls, found: RecordedPrediction) -> Self:
        """Return what the journal holds in the form of an answer."""
        row = found.row
        reasons = json.loads(row.top_shap_features) if row.top_shap_features else None
        different = {
            "prediction_id": row.id,
            "top_shap_features": reasons,
            "inputs": json.loads(row.inputs),
            "outcome": {"churned": found.churned, "known_at": found.known_at},
        }
        return cls.model_validate(row._asdict() | different)


class FeatureAnswer(BaseModel):
    """One feature of the model, in words."""

    name: str
    description: str
    expression: str


class ModelAnswer(BaseModel):
    """The model that answers."""

    model_version: str
    algorithm: str
    content_sha256: str
    deployment: str
    loaded_at: datetime
    threshold: float
    explanation_scale: str
    base_value: float
    features: list[FeatureAnswer]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    table: dict[str, Any] = Field(alias="schema")

    @classmethod
    def of(cls, served: Served) -> Self:
        """Describe the model that answers."""
        bundle = served.bundle
        by_name = {feature.name: feature for feature in bundle.features}
        document = {
            "model_version": served.version,
            "algorithm": bundle.algorithm,
            "content_sha256": bundle.content_sha256,
            "deployment": served.folder,
            "loaded_at": served.loaded_at,
            "threshold": bundle.threshold,
            "explanation_scale": bundle.explanation_scale,
            "base_value": bundle.base_value,
            "features": [vars(by_name[name]) for name in bundle.selected],
            "metrics": bundle.metrics,
            "lineage": bundle.lineage,
            "schema": bundle.schema.model_dump(mode="json"),
        }
        return cls.model_validate(document)


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the customer as the Schema of the model that answers declares it."""
    document: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        routes=app.routes,
        description="Explained churn predictions. Errors are problems as RFC 9457 writes them.",
    )
    served: Served | None = app.state.service.model.current
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (PredictionAnswer, ProbeAnswer, LabelBody, ProblemBody):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(schema.pop("$defs", {}))
        schemas[schema["title"]] = schema
    schemas["Customer"] = _customer_schema(served)
    # `/predict` is answered without the framework, which so does not know it.
    operation = {
        "summary": "Predict",
        "operationId": "predict",
        "description": PREDICT,
        "responses": {str(status): response for status, response in documented(*REFUSALS).items()},
    }
    paths = document["paths"] = {"/predict": {"post": operation}, **document["paths"]}
    customer, label = _reference("Customer"), _reference("Label")
    example = served.example if served else None
    _take(paths["/predict"]["post"], {JSON: _content(customer, example)})
    _answer(paths["/predict"]["post"], {JSON: {"schema": _reference("PredictionAnswer")}})
    batch = {JSON: _content(_list_of(customer), [example] if example else None)}
    files = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in UPLOADS}
    _take(paths["/predict/batch"]["post"], batch | files)
    _answer(paths["/predict/batch"]["post"], {JSON: {"schema": _list_of(_reference("PredictionAnswer"))}} | files)
    few = _list_of(customer) | {"maxItems": MAX_PROBES}
    _take(paths["/predict/probe"]["post"], {JSON: _content(few, [example] if example else None)})
    _answer(paths["/predict/probe"]["post"], {JSON: {"schema": _list_of(_reference("ProbeAnswer"))}})
    label_example = {"customer_id": "C-1001", "churned": True, "outcome_at": "2026-01-31T00:00:00Z"}
    _take(paths["/labels"]["post"], {JSON: _content({"anyOf": [label, _list_of(label)]}, label_example)})
    document["components"]["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "Bearer": {"type": "http", "scheme": "bearer"},
    }
    for path, operations in paths.items():
        if path not in OPEN:
            for operation in operations.values():
                operation["security"] = [{"ApiKey": []}, {"Bearer": []}]
    return document


def _customer_schema(served: Served | None) -> dict[str, Any]:
    if served is None:
        return {"type": "object", "description": "No model is deployed yet."}
    schema: dict[str, Any] = served.form.model.model_json_schema(ref_template=_REFERENCE)
    return schema | {"title": "Customer"}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=name)}


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema, "minItems": 1}


def _content(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"schema": schema} | ({"example": example} if example else {})


def _take(operation: dict[str, Any], content: dict[str, Any]) -> None:
    operation["requestBody"] = {"required": True, "content": content}


def _answer(operation: dict[str, Any], content: dict[str, Any]) -> None:
    operation["responses"]["200"] = {"description": "The answer", "content": content}
