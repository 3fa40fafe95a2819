"""Schemas of requests and answers, and the OpenAPI document generated from them.

The sizes that the settings limit are checked in `translation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from mclrec.serving.rest.settings import Settings

__all__ = [
    "DESCRIPTION",
    "LONGEST_ID",
    "LONGEST_KEY",
    "Answer",
    "Answers",
    "ArmName",
    "BatchRequest",
    "EventsAnswer",
    "EventsRequest",
    "ExplainAnswer",
    "ExplainRequest",
    "Found",
    "Id",
    "Problem",
    "RecommendRequest",
    "Reloaded",
    "Similar",
    "State",
    "body",
    "describe",
    "problems",
]

DESCRIPTION = (
    "Recommends what comes next after a history. Ids are those of the log that the model was trained on: strings or "
    'integers; `7` and `"7"` are the same. Every error is `{"detail": ...}`.'
)

LONGEST_ID = 512
LONGEST_KEY = 128

Id = (
    Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)]
    | Annotated[StrictStr, Field(max_length=LONGEST_ID)]
)
"""Outside id of an item or a user, as in the log."""

_Ids = Annotated[list[Id], Field(fail_fast=True)]
"""List of ids that reports only the first invalid one, not each of half a million."""


_Boosts = Annotated[
    list[dict[str, Any]],
    BeforeValidator(
        lambda given: [given] if isinstance(given, dict) else given,
        json_schema_input_type=list[dict[str, Any]] | dict[str, Any],
    ),
]
"""Boosts; a single one may be given without the list, as in Python and on the command line."""

ArmName = Annotated[StrictStr, Field(max_length=32)]
"""Name of one of several models."""

SessionKey = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_KEY)]
"""Opaque key of a session; only a digest of it is stored."""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RecommendRequest(_Request):
    """A history, or a session that holds one, and options for the recommended items."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["history"]}, {"required": ["session"]}]}
    )

    history: _Ids = Field(
        default_factory=list,
        description="Items, oldest first; those that the model does not know are skipped. Popular items are the "
        "answer if nothing is left. May be left out if a session is named.",
        examples=[["BANANAS", "EGGS - X-LARGE"]],
    )
    session: SessionKey | None = Field(
        None,
        description="Key of a session of `POST /events`, whose items come before `history`; `session_items` of "
        "the answer says how many there are: 0 if the session is unknown or has expired.",
    )
    user: Id | None = Field(
        None,
        description="Whose history it is, for models with user vectors; a user that the model does not know is "
        "answered from the history alone.",
    )
    k: StrictInt = Field(10, ge=1, description="How many items; fewer if no more are left.")
    exclude: _Ids = Field(
        default_factory=list,  # pydantic copies a list that is the default, in microseconds
        description="Items that must not be in the answer.",
        json_schema_extra={"default": []},
    )
    include_seen: bool = Field(
        False, strict=True, description="Whether items of the history may be in the answer."
    )
    allow: _Ids | None = Field(None, description="The only items that may be in the answer; null: all.")
    filter: dict[str, Any] | None = Field(
        None,
        description="Conditions by column of the service's table of items: a value, a list of values, or `min`, `max` "
        "and `not`. Only items for which all hold are in the answer.",
        examples=[{"category": ["dairy"], "available": True, "price": {"max": 10}}],
    )
    boost: _Boosts | None = Field(
        None,
        description="How scores change before the best are listed: where conditions like those of `filter` hold, "
        "`factor` multiplies the odds of an item, and `add` is added to its score. A list, or a single object.",
        examples=[[{"where": {"brand": "own"}, "factor": 1.5}]],
    )
    diversify: dict[str, Any] | None = Field(
        None,
        description="How many items with the same value of a column may be in the answer, by column.",
        examples=[{"category": 2}],
    )
    arm: ArmName | None = Field(
        None,
        description="Name of the model that should answer, if there are several; else `user` or `session` decides.",
    )


class BatchRequest(_Request):
    """Several requests at once."""

    requests: Annotated[list[RecommendRequest], Field(fail_fast=True)] = Field(
        description="Answered in this order.", examples=[[{"history": ["BANANAS"], "k": 5}, {"history": []}]]
    )


class EventsRequest(_Request):
    """Items to add to a session."""

    session: SessionKey = Field(description="Opaque key of the session.", examples=["4f1c0a"])
    items: _Ids = Field(
        description="Items, oldest first, which are added to those of the session. Those that the model does not know "
        "are kept too, and named in the answer.",
        examples=[["BANANAS"]],
    )
    clear: bool = Field(False, strict=True, description="Whether to empty the session first.")


class ExplainRequest(_Request):
    """A history, and items whose scores are to be explained."""

    history: _Ids = Field(description="Items, oldest first.", examples=[["BANANAS", "EGGS - X-LARGE"]])
    user: Id | None = Field(None, description="Whose history it is, for models with user vectors.")
    items: _Ids = Field(description="Known items.", examples=[["FLUID MILK WHITE ONLY"]])
    arm: ArmName | None = Field(
        None,
        description="Name of the model whose scores are explained, if there are several; else `user` decides.",
    )


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


_OPTIONAL_FIELDS = ("titles", "session_items", "arm", "arms")


def _optional(schema: dict[str, Any]) -> None:
    """Mark fields as optional: titles, if the service has none, and fields that only some requests get."""
    schema["required"] = [name for name in schema["required"] if name not in _OPTIONAL_FIELDS]


class _Titled(_Answer):
    model_config = ConfigDict(json_schema_extra=_optional)

    titles: dict[str, str] = Field(
        {},
        description="Titles by id, of the items that have one; only if the service has titles.",
        examples=[{"50": "Star Wars (1977)"}],
    )


class Scored(_Answer):
    """An item and its score."""

    item: str | int
    score: float = Field(
        description="Comparable within one answer; for popular items, how often the item was seen in training."
    )


class Answer(_Titled):
    """Recommended items, best first."""

    items: list[Scored]
    unknown: list[str | int] = Field(
        description="Items of the history that the model does not know, each once."
    )
    unknown_user: bool = Field(
        description="Whether the named user has no vector in the model; then only the history was read."
    )
    popular: bool = Field(description="Whether the items are the popular ones, because no item was known.")
    model: str = Field(description="Version of the model that answered.", examples=["mclrec-0123456789ab"])
    session_items: int = Field(
        0,
        description="Number of items in the session, if one was named. 0: it is unknown, or has expired.",
    )
    arm: str = Field("", description="Name of the model that answered, if there are several.")


class EventsAnswer(_Answer):
    """State of a session after an event."""

    model_config = ConfigDict(json_schema_extra=_optional)

    session_items: int = Field(description="How many items.")
    dropped: int = Field(description="How many of the oldest ones were dropped.")
    unknown: list[str | int] = Field(
        description="Items of the event that the model does not know, each once; another model may."
    )
    model: str = Field(description="Version of the model that was asked.", examples=["mclrec-0123456789ab"])
    arm: str = Field("", description="Name of the model that was asked, if there are several.")


class Answers(_Answer):
    """One answer per request, in order."""

    answers: list[Answer]


class Reason(_Answer):
    """The effect of one item of the history on a score."""

    position: int = Field(description="In the history as given; 0 is the oldest.")
    item: str | int
    difference: float = Field(
        description="Score with the whole history minus the score without this item, all others kept."
    )


class Explained(Scored):
    """An item, its score, and the effects of the items of the history."""

    because: list[Reason] = Field(
        description="One per item that the model reads (the newest known ones), in their order; none if only one "
        "item of the history is known."
    )


class ExplainAnswer(_Answer):
    """Scores and their reasons, in the order of the request."""

    model_config = ConfigDict(json_schema_extra=_optional)

    items: list[Explained]
    unknown: list[str | int]
    unknown_user: bool
    popular: bool = Field(
        description="Whether scores are counts in training, which nothing explains, because no item was known."
    )
    model: str
    arm: str = Field("", description="Name of the model whose scores these are, if there are several.")


class Counted(_Answer):
    """An item and how often it was seen."""

    item: str | int
    count: int = Field(description="Interactions in training.")


class Found(_Titled):
    """Items that match a search."""

    items: list[Counted]
    total: int = Field(description="How many match; `items` holds the best.")


class Similar(_Titled):
    """The most similar items, by cosine similarity of their vectors."""

    items: list[Scored]
    model: str


class Reloaded(_Answer):
    """Versions after and before a reload."""

    model_config = ConfigDict(json_schema_extra=_optional)

    model: str
    before: str
    engine: str = Field(description="What computes the answers now: onnx or torch.")
    warnings: list[str] = Field(description="What was used in place of something else.")
    arm: str = Field("", description="Name of the model, if there are several.")
    arms: list[Reloaded] = Field([], description="All models that were reloaded, if there are several.")


class State(_Answer):
    """State of the process."""

    status: str


class Problem(BaseModel):
    """Reason for a refusal or failure."""

    detail: str = Field(description="What is wrong, in one line.")
    complaints: list[dict[str, Any]] | None = Field(
        None,
        description="Only with 422, if a value is wrong: place and message of the first ten.",
    )


def body(schema: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI description of a JSON body that the endpoint parses itself."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}},
        }
    }


_PROBLEMS = {
    401: "There is no valid key.",
    404: "The item is unknown; the nearest names are given.",
    408: "The body arrived too slowly.",
    409: "It cannot be done with this model, or not now.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    503: "Too many requests are waiting, or the service is shutting down: try again after `Retry-After` seconds.",
    504: "There was no answer before the deadline.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI descriptions of errors, by status."""
    return {status: {"model": Problem, "description": _PROBLEMS[status]} for status in statuses}


_INVALID = {
    "description": "A value is wrong, or beyond a limit.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """OpenAPI document of the service, generated once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        definitions = document["components"]["schemas"]
        definitions |= _components(BatchRequest, ExplainRequest, EventsRequest)
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


def _components(*schemas: type[BaseModel]) -> dict[str, Any]:
    """Schema definitions that `body` refers to, with all that these refer to."""
    found: dict[str, Any] = {}
    for schema in schemas:
        definition = schema.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= definition.pop("$defs", {})
        found[schema.__name__] = definition
    return found


def _add_limits(definitions: Mapping[str, Any], settings: Settings) -> None:
    schemas = ("RecommendRequest", "BatchRequest", "ExplainRequest", "EventsRequest")
    one, many, explain, events = (definitions[name]["properties"] for name in schemas)
    one["k"]["maximum"] = settings.max_k
    one["exclude"]["maxItems"] = settings.max_list
    one["allow"]["anyOf"][0]["maxItems"] = settings.max_list
    for ids in (one["history"], explain["history"], events["items"]):
        ids["maxItems"] = settings.max_history
    many["requests"]["maxItems"] = settings.max_batch
    explain["items"]["maxItems"] = settings.max_explained
