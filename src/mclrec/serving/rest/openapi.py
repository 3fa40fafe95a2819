"""The description of the interface: OpenAPI with the limits of this service, and a page that shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mclrec.serving.rest.schemas import BatchRequest, ExplainRequest, components
from mclrec.serving.rest.settings import Settings

__all__ = ["DESCRIPTION", "describe", "documentation"]

DESCRIPTION = (
    "Recommends what comes next after a history. Ids are those of the log that the model was trained on: strings or "
    'integers; `7` and `"7"` are the same. Every error is `{"detail": ...}`.'
)
_INVALID = {
    "description": "A value is wrong, or beyond a limit: a list of complaints, or one line.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"detail": {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]}},
                "required": ["detail"],
            }
        }
    },
}


def describe(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """OpenAPI of the service, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        definitions = document["components"]["schemas"]
        definitions |= components(BatchRequest, ExplainRequest)
        definitions.pop("HTTPValidationError", None)
        definitions.pop("ValidationError", None)
        _add_limits(definitions, settings)
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if "requestBody" in operation or "parameters" in operation:
                    operation["responses"]["422"] = _INVALID
                if path not in ("/health", "/ready"):
                    operation["security"] = [{}, {"key": []}]
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = document
    return app.openapi_schema


def _add_limits(definitions: Mapping[str, Any], settings: Settings) -> None:
    schemas = ("RecommendRequest", "BatchRequest", "ExplainRequest")
    one, many, explain = (definitions[name]["properties"] for name in schemas)
    one["k"]["maximum"] = settings.max_k
    one["exclude"]["maxItems"] = settings.max_list
    one["allow"]["anyOf"][0]["maxItems"] = settings.max_list
    one["history"]["maxItems"] = explain["history"]["maxItems"] = settings.max_history
    many["requests"]["maxItems"] = settings.max_batch
    explain["items"]["maxItems"] = settings.max_explained


def documentation(document: Mapping[str, Any]) -> str:
    """The description as a page that needs nothing from elsewhere, not even a script."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>mclrec: interface</title>",
        f"<h1>mclrec {escape(document['info']['version'])}</h1><p>{escape(document['info']['description'])}</p>",
        "<p>For machines: <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(path, method, operation)
    parts.append("<h2>What goes in and comes out</h2>")
    for name, definition in document["components"]["schemas"].items():
        text = json.dumps(definition, indent=2, ensure_ascii=False)
        parts.append(
            f"<details id={escape(name)}><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
        )
    return "\n".join(parts)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> list[str]:
    parts = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
    ]
    for parameter in operation.get("parameters", ()):
        parts.append(
            f"<p><code>{escape(parameter['name'])}</code> {escape(parameter.get('description', ''))}</p>"
        )
    if "requestBody" in operation:
        parts.append(f"<p>takes {_link(operation['requestBody'])}</p>")
    rows = [
        f"<li>{escape(status)}: {_link(response) or escape(response['description'])}</li>"
        for status, response in operation["responses"].items()
    ]
    return [*parts, "<ul>", *rows, "</ul>"]


def _link(holder: Mapping[str, Any]) -> str:
    """Link to the definition of a body, if it has a name."""
    schema = holder.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    described = holder.get("description", "")
    text = f" {escape(described)}" if described and described != "Successful Response" else ""
    return f"<a href=#{escape(name)}>{escape(name)}</a>{text}" if name else ""
