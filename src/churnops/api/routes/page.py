"""The documentation page: the OpenAPI document as HTML, without scripts and without anything loaded from elsewhere."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from typing import Any

from fastapi import Response

from churnops.api.body import JSON

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-top: 1px solid var(--line); padding-top: 1.2rem; font-size: 1.2rem; }
h2 b { font-size: .8em; padding: .15em .5em; border-radius: .3em; background: var(--soft); margin-right: .4em; }
code, pre, h2 { font-family: ui-monospace, monospace; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; border-radius: .3rem; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
"""
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"content-security-policy": _POLICY, "x-frame-options": "DENY", "referrer-policy": "no-referrer"}
MAX_CHOICES = 60  # shown of a column


def documentation_page(document: Mapping[str, Any], banner: str = "") -> Response:
    """Return an OpenAPI document as a page: the project's banner, if it has one, paths, examples to copy, schemas."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = document["components"]["schemas"]
    info = document["info"]
    contents = "".join(
        f"<li><a href='#{_anchor(m, p)}'><code>{m} {escape(p)}</code></a></li>" for m, p, _ in operations
    )
    parts = [
        f"<p><strong>{escape(banner)}</strong></p>" if banner else "",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} ",
        "The same for programs: <a href='openapi.json'>openapi.json</a>.</p>",
        "<p>The examples need the service's address and, unless it runs for development on your machine, a key:</p>",
        "<pre>URL=http://localhost:8000 KEY=churnops_…</pre>",
        f"<ul>{contents}</ul>",
        *(_operation(*operation) for operation in operations),
        "<h1>Schemas</h1>",
        *(_schema(name, schemas[name]) for name in sorted(schemas)),
    ]
    html = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>churnops API</title>"
        "<meta name='viewport' content='width=device-width'><link rel='icon' href='data:,'>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )
    return Response(html, media_type="text/html; charset=utf-8", headers=HEADERS)


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}", quote=True)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    needs = "Needs a key where one is needed." if "security" in operation else "Needs no key."
    body = operation.get("requestBody", {}).get("content", {})
    answers = (
        (status, escape(answer["description"]), _contents(answer.get("content", {})))
        for status, answer in operation["responses"].items()
    )
    takes = f"<p>Takes {_contents(body)}.</p>" if body else ""
    return (
        f"<h2 id='{_anchor(method, path)}'><b>{method}</b>{escape(path)}</h2>"
        f"<p>{escape(operation.get('description', ''))}</p><p>{needs}</p>"
        f"<pre>{escape(_curl(method, path, operation))}</pre>{takes}{_table(('status', 'meaning', 'content'), answers)}"
    )


def _curl(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """Return a command line for a POSIX shell."""
    words = ["curl -s"] + ([f"-X {method}"] if method != "GET" else []) + [f'"$URL{path}"']
    if "security" in operation:
        words.append('-H "X-API-Key: $KEY"')
    content = operation.get("requestBody", {}).get("content", {}).get(JSON)
    if content and "example" in content:
        text = json.dumps(content["example"], indent=1, ensure_ascii=False).replace("'", "'\\''")
        words += [f"-H 'Content-Type: {JSON}'", f"-d '{text}'"]
    return " \\\n  ".join([" ".join(words[:3]), *words[3:]])


def _contents(content: Mapping[str, Any]) -> str:
    kinds = (
        f"<code>{escape(kind)}</code>" + (f": {_type(item['schema'])}" if item.get("schema") else "")
        for kind, item in content.items()
    )
    return ", ".join(kinds)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        (
            f"<code>{escape(key)}</code>",
            _type(item),
            "yes" if key in required else "",
            escape(item.get("description", "")),
        )
        for key, item in schema.get("properties", {}).items()
    )
    description = escape(schema.get("description", ""))
    header = ("name", "type", "required", "meaning")
    return f"<h2 id='{escape(name, quote=True)}'>{escape(name)}</h2><p>{description}</p>{_table(header, rows)}"


def _type(schema: Mapping[str, Any]) -> str:
    """Describe the values that a schema allows in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2], quote=True)
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"])
    if "enum" in schema:
        shown = ", ".join(escape(json.dumps(value, ensure_ascii=False)) for value in schema["enum"][:MAX_CHOICES])
        return f"one of {shown}" + (", …" if len(schema["enum"]) > MAX_CHOICES else "")
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    words = [str(schema.get("type", "anything")), str(schema.get("format", ""))]
    for key, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "characters, at most"), ("const", "only")):
        if key in schema:
            words.append(f"{word} {schema[key]}")
    return escape(" ".join(word for word in words if word))


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if body else ""
