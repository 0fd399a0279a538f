"""The OpenAPI document of the service and the deployed model."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from churnops.api.body import JSON
from churnops.api.contacts import ContactBody
from churnops.api.decision import EXAMPLE, decision_schema
from churnops.api.examples import CONTACT, LABEL, LIST_REQUEST, example_answers
from churnops.api.labels import LabelBody
from churnops.api.problems import REFUSALS, documented
from churnops.api.served import Served
from churnops.api.uploads.formats import UPLOADS
from churnops.decision.list_request import ListRequest
from churnops.schema import ID_PATTERN, MAX_ID_LENGTH
from churnops.wire import PredictionAnswer, ProbeAnswer, ProblemBody

MAX_PROBES = 64
_REFERENCE = "#/components/schemas/{model}"
PREDICT = (
    "Score and explain one customer. The answer is recorded before it is sent. A body with nothing but the customer's "
    "id stands for the columns that were stored for this customer; the answer then has their time."
)
OPEN = ("/", "/health/live", "/health/ready")
TAGS = [
    {"name": "predictions", "description": "Score and explain customers."},
    {"name": "outcomes", "description": "Record what is known about customers later."},
    {"name": "call lists", "description": "Whom to contact, and what became of it."},
    {"name": "model", "description": "The deployed model."},
    {"name": "decision", "description": "The decision policy: whom to flag and contact."},
    {"name": "experiments", "description": "Challengers on live customers."},
    {"name": "service", "description": "Health, metrics and index of the service."},
]
"""Groups of operations; a generated client has a module for each."""


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the fields of a customer from the deployed model's Schema."""
    document: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        routes=app.routes,
        tags=TAGS,
        description="Explained churn predictions. Errors are problem documents (RFC 9457).",
    )
    served: Served | None = app.state.service.model.current
    document["paths"] = {"/predict": {"post": _predict()}, **document["paths"]}
    _add_schemas(document, served)
    named = "NamedCustomer" in document["components"]["schemas"]
    _add_bodies(document["paths"], served.example if served else None, named=named)
    _add_examples(document["paths"], served)
    document["components"]["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "Bearer": {"type": "http", "scheme": "bearer"},
    }
    for path, operations in document["paths"].items():
        if path not in OPEN:
            for operation in operations.values():
                operation["security"] = [{"ApiKey": []}, {"Bearer": []}]
    return document


def _predict() -> dict[str, Any]:
    """Return the operation that the framework does not know, because `Predict` answers it in front of the framework."""
    return {
        "tags": ["predictions"],
        "summary": "Predict one customer",
        "operationId": "predict",
        "description": PREDICT,
        "responses": {str(status): response for status, response in documented(404, *REFUSALS).items()},
    }


def _add_schemas(document: dict[str, Any], served: Served | None) -> None:
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (PredictionAnswer, ProbeAnswer, LabelBody, ContactBody, ListRequest, ProblemBody):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(schema.pop("$defs", {}))
        schemas[schema["title"]] = schema
    schemas["Customer"] = _customer_schema(served)
    schemas["Decision"] = decision_schema()
    if served and served.form.identifier:
        schemas["NamedCustomer"] = _named_schema(served.form.identifier)
    # The framework's own answer to an invalid parameter: their parameters are valid as any text.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in ("/predictions/{prediction_id}", "/call-lists/{id}"):
        document["paths"][path]["get"]["responses"].pop("422", None)


def _add_bodies(paths: dict[str, Any], example: dict[str, Any] | None, *, named: bool) -> None:
    """Add the bodies of requests and answers that the framework does not know, as routes read and write them."""
    customer, label = _reference("Customer"), _reference("Label")
    either = {"anyOf": [customer, _reference("NamedCustomer")]} if named else customer
    _set_body(paths["/predict"]["post"], {JSON: _content(either, example)})
    _set_answer(paths["/predict"]["post"], {JSON: {"schema": _reference("PredictionAnswer")}})
    batch = {JSON: _content(_list_of(either), [example] if example else None)}
    files = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in UPLOADS}
    _set_body(paths["/predict/batch"]["post"], batch | files)
    _set_answer(paths["/predict/batch"]["post"], {JSON: {"schema": _list_of(_reference("PredictionAnswer"))}} | files)
    probes = _list_of(customer) | {"maxItems": MAX_PROBES}
    _set_body(paths["/predict/probe"]["post"], {JSON: _content(probes, [example] if example else None)})
    _set_answer(paths["/predict/probe"]["post"], {JSON: {"schema": _list_of(_reference("ProbeAnswer"))}})
    _set_body(paths["/predict/what-if"]["post"], {JSON: _content(customer, example)})
    _set_body(paths["/features"]["post"], {JSON: _content(_list_of(customer), [example] if example else None)})
    _set_body(paths["/labels"]["post"], {JSON: _content({"anyOf": [label, _list_of(label)]}, LABEL)})
    _set_body(paths["/decision"]["put"], {JSON: _content(_reference("Decision"), EXAMPLE)})
    contact = _reference("Contact")
    _set_body(paths["/contacts"]["post"], {JSON: _content({"anyOf": [contact, _list_of(contact)]}, CONTACT)})
    _set_body(paths["/call-lists"]["post"], {JSON: _content(_reference("ListRequest"), LIST_REQUEST)})


def _add_examples(paths: dict[str, Any], served: Served | None) -> None:
    """Add an invented answer to each operation."""
    for (method, path), example in example_answers(served.form.schema if served else None, [*paths]).items():
        contents = paths[path][method]["responses"]["200"]["content"]
        next(iter(contents.values()))["example"] = example


def _customer_schema(served: Served | None) -> dict[str, Any]:
    if served is None:
        return {"type": "object", "description": "No model is deployed yet."}
    schema: dict[str, Any] = served.form.model.model_json_schema(ref_template=_REFERENCE)
    return schema | {"title": "Customer"}


def _named_schema(identifier: str) -> dict[str, Any]:
    return {
        "type": "object",
        "title": "NamedCustomer",
        "description": "A customer whose columns were stored by `/features` or `churnops features upload`.",
        "properties": {identifier: {"type": "string", "maxLength": MAX_ID_LENGTH, "pattern": ID_PATTERN}},
        "required": [identifier],
        "additionalProperties": False,
    }


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
