"""Reference of the HTTP service, generated from its OpenAPI document."""

from types import SimpleNamespace
from typing import Any

from scripts.site.reference import table

from churnops.api.documents import openapi_document
from churnops.api.main import create_app

Document = dict[str, Any]


def page() -> str:
    """Return the page of all paths and of the forms of their bodies."""
    document = _document()
    text = (
        "# Paths of the API\n\n[The API](../docs/api.md) explains them with examples. A running service answers `GET "
        "/openapi.json` with this document, in which `Customer` has the columns of its model.\n"
    )
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            text += f"\n## `{method.upper()} {path}`\n\n{_operation(operation)}"
    text += "\n## Forms\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        text += f"\n### `{name}`\n\n{_form(schema)}"
    return text


def _document() -> Document:
    """Return the OpenAPI document of a service without a model."""
    app = create_app()
    app.state.service = SimpleNamespace(model=SimpleNamespace(current=None))
    return openapi_document(app)


def _operation(operation: Document) -> str:
    text = operation["description"] + ("" if "security" in operation else " It needs no key.") + "\n\n"
    if parameters := operation.get("parameters"):
        rows = [(f"`{item['name']}`", item["in"], item.get("description", "")) for item in parameters]
        text += table(("parameter", "in", "meaning"), rows) + "\n"
    rows = [("request", *body) for body in _bodies(operation.get("requestBody", {}))]
    problems = []
    for status, answer in sorted(operation["responses"].items()):
        if int(status) < 400:
            rows += [(status, *body) for body in _bodies(answer)]
        else:
            problems.append(status)
    text += table(("body", "type", "form"), rows)
    if problems:
        text += f"\nProblems, as [`ProblemBody`](#problembody): {', '.join(problems)}.\n"
    return text


def _bodies(body: Document) -> list[tuple[str, str]]:
    return [(f"`{kind}`", _kind(content.get("schema", {}))) for kind, content in body.get("content", {}).items()]


def _form(schema: Document) -> str:
    text = schema.get("description", "") + "\n\n"
    if "properties" not in schema:
        return text + _kind(schema) + "\n"
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", _kind(field), "yes" if name in required else "no", field.get("description", ""))
        for name, field in schema["properties"].items()
    ]
    return text + table(("field", "kind", "required", "meaning"), rows)


def _kind(schema: Document) -> str:
    """Return the kind of a value in words.

    >>> _kind({"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/Label"}, {"type": "null"}]}})
    'list of [`Label`](#label) or null'
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return str(schema.get("format", schema.get("type", "any")))
