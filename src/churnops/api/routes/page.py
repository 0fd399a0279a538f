"""The documentation page: the OpenAPI document as HTML, without scripts and external files."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from typing import Any

from fastapi import Response

from churnops.api.body import JSON
from churnops.templates import render

MAX_CHOICES = 60  # limit of the choices that the page shows for a column

Pieces = list[tuple[str, str]]
"""Texts in their order, each with the name of a schema to link to; "" is no link."""


def documentation_page(document: Mapping[str, Any], banner: str = "") -> Response:
    """Return an OpenAPI document as a page with banner, paths, commands to copy, and schemas."""
    operations = [
        _operation(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    html = render(
        "documentation.html",
        title="churnops API",
        banner=banner,
        info=document["info"],
        operations=operations,
        schemas=schemas,
    )
    return Response(html, media_type="text/html; charset=utf-8", headers=_headers())


@cache
def _headers() -> Mapping[str, str]:
    """Return headers that allow the page's own style sheet, by its hash, and nothing else."""
    style = b64encode(sha256(render("documentation.css").encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {"content-security-policy": policy, "x-frame-options": "DENY", "referrer-policy": "no-referrer"}


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "method": method,
        "path": path,
        "description": operation.get("description", ""),
        "needs_key": "security" in operation,
        "command": _curl(method, path, operation),
        "example": _example(operation),
        "takes": _contents(operation.get("requestBody", {}).get("content", {})),
        "answers": [
            (status, answer["description"], _contents(answer.get("content", {})))
            for status, answer in operation["responses"].items()
        ],
    }


def _example(operation: Mapping[str, Any]) -> str:
    """Return the example of an answer as text."""
    contents = operation["responses"].get("200", {}).get("content", {})
    example = next((content["example"] for content in contents.values() if "example" in content), "")
    return example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)


def _curl(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """Return a request as a command for a POSIX shell."""
    words = ["curl -s"] + ([f"-X {method}"] if method != "GET" else []) + [f'"$URL{path}"']
    if "security" in operation:
        words.append('-H "X-API-Key: $KEY"')
    content = operation.get("requestBody", {}).get("content", {}).get(JSON)
    if content and "example" in content:
        text = json.dumps(content["example"], indent=1, ensure_ascii=False).replace("'", "'\\''")
        words += [f"-H 'Content-Type: {JSON}'", f"-d '{text}'"]
    return " \\\n  ".join([" ".join(words[:3]), *words[3:]])


def _contents(content: Mapping[str, Any]) -> list[tuple[str, Pieces]]:
    """Return the media types of a body, each with the type of its content; empty if that is not declared."""
    return [(kind, list(_type(item["schema"])) if item.get("schema") else []) for kind, item in content.items()]


def _schema(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    fields = [
        {
            "name": key,
            "type": list(_type(item)),
            "required": key in required,
            "meaning": item.get("description", ""),
        }
        for key, item in schema.get("properties", {}).items()
    ]
    return {"name": name, "description": schema.get("description", ""), "fields": fields}


def _type(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Describe the valid values of a schema in a few words, with links to other schemas."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield name, name
    elif "anyOf" in schema:
        for place, item in enumerate(schema["anyOf"]):
            if place:
                yield " or ", ""
            yield from _type(item)
    elif "enum" in schema:
        choices = [json.dumps(value, ensure_ascii=False) for value in schema["enum"][:MAX_CHOICES]]
        yield "one of " + ", ".join(choices) + (", …" if len(schema["enum"]) > MAX_CHOICES else ""), ""
    elif "examples" in schema:
        examples = [json.dumps(value, ensure_ascii=False) for value in schema["examples"][:MAX_CHOICES]]
        yield f"{_limits(schema)}, such as {', '.join(examples)}", ""
    elif schema.get("type") == "array":
        yield "list of ", ""
        yield from _type(schema.get("items", {}))
    else:
        yield _limits(schema), ""


def _limits(schema: Mapping[str, Any]) -> str:
    """Return the type, format and limits of a plain value."""
    words = [str(schema.get("type", "anything")), str(schema.get("format", ""))]
    for key, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "characters, at most"), ("const", "only")):
        if key in schema:
            words.append(f"{word} {schema[key]}")
    return " ".join(word for word in words if word)
