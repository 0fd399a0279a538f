"""The OpenAPI document of the service and the deployed model."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from churnops.api.body import JSON
from churnops.api.labels import LabelBody
from churnops.api.problems import REFUSALS, documented
from churnops.api.served import Served
from churnops.api.uploads.formats import UPLOADS
from churnops.wire import PredictionAnswer, ProbeAnswer, ProblemBody

MAX_PROBES = 64
_REFERENCE = "#/components/schemas/{model}"
PREDICT = "Score and explain one customer. The answer is recorded before it is sent."
OPEN = ("/", "/health/live", "/health/ready")


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the fields of a customer from the deployed model's Schema."""
    document: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        routes=app.routes,
        description="Explained churn predictions. Errors are problem documents (RFC 9457).",
    )
    served: Served | None = app.state.service.model.current
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (PredictionAnswer, ProbeAnswer, LabelBody, ProblemBody):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(schema.pop("$defs", {}))
        schemas[schema["title"]] = schema
    schemas["Customer"] = _customer_schema(served)
    # The framework does not know `/predict`, because `Predict` answers it in front of the framework.
    operation = {
        "summary": "Predict",
        "operationId": "predict",
        "description": PREDICT,
        "responses": {str(status): response for status, response in documented(*REFUSALS).items()},
    }
    paths = document["paths"] = {"/predict": {"post": operation}, **document["paths"]}
    customer, label = _reference("Customer"), _reference("Label")
    example = served.example if served else None
    _set_body(paths["/predict"]["post"], {JSON: _content(customer, example)})
    _set_answer(paths["/predict"]["post"], {JSON: {"schema": _reference("PredictionAnswer")}})
    batch = {JSON: _content(_list_of(customer), [example] if example else None)}
    files = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in UPLOADS}
    _set_body(paths["/predict/batch"]["post"], batch | files)
    _set_answer(paths["/predict/batch"]["post"], {JSON: {"schema": _list_of(_reference("PredictionAnswer"))}} | files)
    probes = _list_of(customer) | {"maxItems": MAX_PROBES}
    _set_body(paths["/predict/probe"]["post"], {JSON: _content(probes, [example] if example else None)})
    _set_answer(paths["/predict/probe"]["post"], {JSON: {"schema": _list_of(_reference("ProbeAnswer"))}})
    label_example = {"customer_id": "C-1001", "churned": True, "outcome_at": "2026-01-31T00:00:00Z"}
    _set_body(paths["/labels"]["post"], {JSON: _content({"anyOf": [label, _list_of(label)]}, label_example)})
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


def _set_body(operation: dict[str, Any], content: dict[str, Any]) -> None:
    operation["requestBody"] = {"required": True, "content": content}


def _set_answer(operation: dict[str, Any], content: dict[str, Any]) -> None:
    operation["responses"]["200"] = {"description": "The answer", "content": content}
