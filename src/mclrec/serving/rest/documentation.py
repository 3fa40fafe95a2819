"""API documentation as an HTML page: every endpoint with an example, in the style of the service's page.

It is plain HTML that loads two style sheets of the service itself, and nothing else, not even a script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

__all__ = ["EXAMPLES", "ExampleCall", "documentation"]


class ExampleCall(NamedTuple):
    """An example call and its answer, as the page shows them.

    Attributes:
        path: path and query, which follow the address of the service.
        sent: the JSON body; None if there is none.
        answer: JSON, or text.
    """

    path: str
    sent: dict[str, Any] | None
    answer: dict[str, Any] | str


_ANSWER = {
    "items": [{"item": "FLUID MILK WHITE ONLY", "score": 4.173}, {"item": "SHREDDED CHEESE", "score": 3.902}],
    "unknown": [],
    "unknown_user": False,
    "popular": False,
    "model": "mclrec-0123456789ab",
}
_HISTORY = ["BANANAS", "EGGS - X-LARGE"]

EXAMPLES = {
    "/recommend": ExampleCall("/recommend", {"history": _HISTORY, "k": 2}, _ANSWER),
    "/recommend/batch": ExampleCall(
        "/recommend/batch", {"requests": [{"history": _HISTORY, "k": 2}]}, {"answers": [_ANSWER]}
    ),
    "/explain": ExampleCall(
        "/explain",
        {"history": _HISTORY, "items": ["SHREDDED CHEESE"]},
        {
            "items": [
                {
                    "item": "SHREDDED CHEESE",
                    "score": 3.902,
                    "because": [
                        {"position": 0, "item": "BANANAS", "difference": -0.051},
                        {"position": 1, "item": "EGGS - X-LARGE", "difference": 0.408},
                    ],
                }
            ],
            "unknown": [],
            "unknown_user": False,
            "popular": False,
            "model": "mclrec-0123456789ab",
        },
    ),
    "/events": ExampleCall(
        "/events",
        {"session": "4f1c0a", "items": ["BANANAS"]},
        {"session_items": 3, "dropped": 0, "unknown": [], "model": "mclrec-0123456789ab"},
    ),
    "/items": ExampleCall(
        "/items?q=cheese&limit=1", None, {"items": [{"item": "SHREDDED CHEESE", "count": 281}], "total": 14}
    ),
    "/similar/{item}": ExampleCall(
        "/similar/BANANAS?k=1",
        None,
        {"items": [{"item": "GRAPES", "score": 0.614}], "model": "mclrec-0123456789ab"},
    ),
    "/health": ExampleCall("/health", None, {"status": "alive"}),
    "/ready": ExampleCall("/ready", None, {"status": "ready"}),
    "/model": ExampleCall(
        "/model", None, {"name": "mclrec", "version": "mclrec-0123456789ab", "items": 1509}
    ),
    "/metrics": ExampleCall(
        "/metrics",
        None,
        "# HELP mclrec_request_seconds Time from the head of a request to the end of its answer.\n...",
    ),
    "/model/reload": ExampleCall(
        "/model/reload",
        {},
        {
            "model": "mclrec-0123456789ab",
            "before": "mclrec-ba9876543210",
            "engine": "onnx",
            "warnings": [],
        },
    ),
}
"""An example call for each path."""

_INTRODUCTION = """<p>In the examples, <code>URL</code> is the address of this service:
<code>URL=http://127.0.0.1:8000</code>. Where keys are set, add
<code>-H "Authorization: Bearer $KEY"</code>. For machines, there is <a href="openapi.json">openapi.json</a>.</p>"""


def documentation(document: Mapping[str, Any]) -> str:
    """Render the documentation page.

    Args:
        document: OpenAPI document from `mclrec.serving.rest.schemas.describe`.
    """
    paths = document["paths"]
    operations = [
        (path, method, operation) for path, methods in paths.items() for method, operation in methods.items()
    ]
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><title>API · mclrec</title>',
        '<link rel="icon" href="icon.svg" type="image/svg+xml">',
        '<link rel="stylesheet" href="style.css"><link rel="stylesheet" href="docs.css"></head><body class="docs">',
        f'<header class="top"><h1>mclrec API</h1><p id="model-line">version {escape(document["info"]["version"])}</p>',
        '<nav aria-label="Service"><a class="plain" href=".">The page</a></nav></header><main>',
        f'<section class="panel"><p>{_inline(document["info"]["description"])}</p>{_INTRODUCTION}',
        '<ul class="contents">',
        *(
            f'<li><a href="#{_anchor(path, method)}"><b>{method.upper()}</b> {escape(path)}</a></li>'
            for path, method, _ in operations
        ),
        "</ul></section>",
        *(_operation(path, method, operation) for path, method, operation in operations),
        '<section class="panel"><h2>What goes in and comes out</h2>',
        *(_definition(name, one) for name, one in document["components"]["schemas"].items()),
        "</section></main></body></html>",
    ]
    return "\n".join(parts)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    """One endpoint: description, parameters, responses and an example."""
    parts = [
        f'<section class="panel" id="{_anchor(path, method)}"><h2><b>{method.upper()}</b> {escape(path)}</h2>',
        f"<p>{_inline(operation.get('description', ''))}</p>",
    ]
    facts = [
        (escape(parameter["name"]), _inline(parameter.get("description", "")))
        for parameter in operation.get("parameters", ())
    ]
    if "requestBody" in operation:
        facts.append(("body", _link(operation["requestBody"])))
    facts += [
        (escape(status), _link(response) or escape(response["description"]))
        for status, response in sorted(operation["responses"].items())
    ]
    parts += ["<dl>", *(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in facts), "</dl>"]
    if path in EXAMPLES:
        parts.append(_example(EXAMPLES[path], method))
    return "\n".join([*parts, "</section>"])


def _example(call: ExampleCall, method: str) -> str:
    words = ["curl"] if method == "get" else ["curl", "-X", method.upper()]
    words.append(f'"$URL{call.path}"')
    if call.sent is not None:
        words += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(call.sent, ensure_ascii=False)}'"]
    answer = call.answer if isinstance(call.answer, str) else json.dumps(call.answer, ensure_ascii=False)
    return "".join(
        f"<pre><code>{escape(text, quote=False)}</code></pre>" for text in (" ".join(words), answer)
    )


def _definition(name: str, definition: Mapping[str, Any]) -> str:
    text = json.dumps(definition, indent=2, ensure_ascii=False)
    return (
        f'<details id="{escape(name)}"><summary>{escape(name)}</summary>'
        f"<pre><code>{escape(text, quote=False)}</code></pre></details>"
    )


def _link(holder: Mapping[str, Any]) -> str:
    """A link to the named schema of a body, followed by its description; empty if the schema has no name."""
    schema = holder.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    described = holder.get("description", "")
    text = f" {_inline(described)}" if described and described != "Successful Response" else ""
    return f'<a href="#{escape(name)}">{escape(name)}</a>{text}' if name else ""


def _inline(text: str) -> str:
    """Text as HTML, with code between backticks marked up."""
    pieces = escape(text, quote=False).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))


def _anchor(path: str, method: str) -> str:
    return method + "".join(sign if sign.isalnum() else "-" for sign in path)
