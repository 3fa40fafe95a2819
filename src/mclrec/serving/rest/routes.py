"""The application: routes, reading of bodies, and the status of each error."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from mclrec.errors import EvaluationError, ModelFileError
from mclrec.inference import queries
from mclrec.inference.explain import LeaveOneOut
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import DecodedQuery
from mclrec.serving.rest import schemas
from mclrec.serving.rest.batcher import Expired, QueueFull
from mclrec.serving.rest.middleware import Keys, Middleware, notes_of
from mclrec.serving.rest.model_store import Busy, Loaded, ModelStore
from mclrec.serving.rest.schemas import (
    DESCRIPTION,
    BatchRequest,
    ExplainRequest,
    RecommendRequest,
    body,
    describe,
    documentation,
)
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics
from mclrec.serving.rest.translation import (
    LimitExceeded,
    check,
    explanation_reply,
    query_of,
    recommend_reply,
    scored,
)

__all__ = ["make_app"]

_Body = TypeVar("_Body", RecommendRequest, BatchRequest, ExplainRequest)
_Endpoint = Callable[..., Coroutine[Any, Any, Response]]

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Pages take everything from here, and are shown in no other page."""

_COMPLAINTS = 10
"""Errors of a body that are listed: one a line of a long list would be an answer larger than the request."""


def make_app(
    models: ModelStore, settings: Settings, metrics: Metrics, keys: Keys | None = None
) -> Middleware:
    """The service as an ASGI application."""
    app = FastAPI(
        title="mclrec",
        version=version("mclrec"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(RequestValidationError, _complain)
    app.add_exception_handler(Exception, _fail)
    page = _page()
    middleware = Middleware(app, settings, metrics, keys, frozenset({"/", "/health", "/ready", *page}))
    metrics.watch(
        lambda: models.current.batcher.waiting, lambda: middleware.connections(), lambda: middleware.in_flight
    )
    _Routes(models, settings, metrics, middleware).register(app)
    _add_page(app, page)
    return middleware


class _Routes:
    """The endpoints. Each takes the current model once, before it waits, and stays with it."""

    def __init__(
        self, models: ModelStore, settings: Settings, metrics: Metrics, middleware: Middleware
    ) -> None:
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self._middleware = middleware

    def register(self, app: FastAPI) -> None:
        """Add all endpoints and the description of the interface."""
        add, problems = app.add_api_route, schemas.problems
        app.openapi = lambda: describe(app, self._settings)  # type: ignore[method-assign]
        posts: list[tuple[str, _Endpoint, type[BaseModel], type[BaseModel]]] = [
            ("/recommend", self.recommend, RecommendRequest, schemas.Answer),
            ("/recommend/batch", self.recommend_batch, BatchRequest, schemas.Answers),
            ("/explain", self.explain, ExplainRequest, schemas.ExplainAnswer),
        ]
        for path, endpoint, asks, gives in posts:
            responses = {200: {"model": gives}, **problems(401, 408, 413, 415, 503, 504)}
            add(path, endpoint, methods=["POST"], responses=responses, openapi_extra=body(asks))
        gets: list[tuple[str, _Endpoint, type[BaseModel] | None, tuple[int, ...]]] = [
            ("/items", self.items, schemas.Found, (401, 503)),
            ("/similar/{item:path}", self.similar, schemas.Similar, (401, 404, 409, 503)),
            ("/health", self.health, schemas.State, ()),
            ("/ready", self.ready, schemas.State, (503,)),
            ("/model", self.model, None, (401, 503)),
            ("/metrics", self.show_metrics, None, (401, 503)),
        ]
        for path, endpoint, given, statuses in gets:
            good: dict[str, Any] = (
                {"content": {"text/plain": {}}} if endpoint == self.show_metrics else {"model": given}
            )
            add(path, endpoint, methods=["GET"], responses={200: good, **problems(*statuses)})
        reloaded = {200: {"model": schemas.Reloaded}, **problems(401, 409, 503)}
        add("/model/reload", self.reload, methods=["POST"], responses=reloaded)
        for path, endpoint in (("/openapi.json", self.openapi), ("/docs", self.docs)):
            add(path, endpoint, methods=["GET"], include_in_schema=False)

    async def recommend(self, request: Request) -> Response:
        """The items that come next after a history."""
        asked = await self._read(request, RecommendRequest)
        loaded = self._models.current
        return _reply((await self._recommend(request, loaded, [asked]))[0])

    async def recommend_batch(self, request: Request) -> Response:
        """Several requests at once, answered in their order."""
        asked = await self._read(request, BatchRequest)
        loaded = self._models.current
        return _reply({"answers": await self._recommend(request, loaded, asked.requests)})

    async def explain(self, request: Request) -> Response:
        """Which items of the history move the scores of some items: the difference that leaving each out makes."""
        asked = await self._read(request, ExplainRequest)
        loaded = self._models.current
        try:
            plan = LeaveOneOut.of(loaded.runtime, asked.history, asked.items, asked.user)
        except KeyError as unknown:
            raise HTTPException(422, loaded.runtime.catalogue.unknown_item(unknown.args[0])) from None
        self._note(request, [asked.history])
        return _reply(explanation_reply(plan, await self._answers(request, loaded, plan.queries)))

    async def items(
        self,
        q: Annotated[str, Query(max_length=200, description="Parts of words; empty: popular items.")] = "",
        limit: Annotated[int, Query(ge=1, le=200, description="How many are listed.")] = 20,
    ) -> Response:
        """Search items by parts of the words of their ids; case and accents do not matter."""
        catalogue = self._models.current.runtime.catalogue
        found = catalogue.search(q, limit)
        listed = [
            {"item": catalogue.outside(item), "count": int(catalogue.counts[item])}
            for item in found.items.tolist()
        ]
        return _reply({"items": listed, "total": int(found.total)})

    async def similar(
        self,
        item: str,
        k: Annotated[int, Query(ge=1, description="How many items.")] = 10,
    ) -> Response:
        """The items whose vectors are nearest to an item's."""
        if k > self._settings.max_k:
            raise HTTPException(422, f"k = {k}: at most {self._settings.max_k}")
        runtime = self._models.current.runtime
        dense = runtime.catalogue.dense(item)
        if not dense:
            raise HTTPException(404, runtime.catalogue.unknown_item(item))
        try:
            found = await asyncio.to_thread(runtime.similar, dense, queries.Query(k=k))
        except EvaluationError as problem:
            raise HTTPException(409, str(problem)) from None
        return _reply({"items": scored(found), "model": runtime.version})

    async def health(self) -> Response:
        """Whether the process lives."""
        return _reply({"status": "alive"})

    async def ready(self) -> Response:
        """Whether requests should be sent here."""
        if self._middleware.draining:
            raise HTTPException(503, "the service is going down", {"Retry-After": "1"})
        return _reply({"status": "ready"})

    async def model(self) -> Response:
        """The card of the model: name, version, configuration, data, protocol, metrics."""
        return _reply(dict(self._models.current.runtime.card))

    async def show_metrics(self) -> Response:
        """Metrics for Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def reload(self) -> Response:
        """Read the model's directory anew and let it answer from now on. No request fails for it."""
        try:
            now, before = await self._models.reload()
        except Busy:
            raise HTTPException(409, "a reload is under way") from None
        except ModelFileError as problem:
            raise HTTPException(409, str(problem)) from None
        return _reply({"model": now, "before": before})

    async def openapi(self, request: Request) -> Response:
        """The interface for machines."""
        return _reply(request.app.openapi())

    async def docs(self, request: Request) -> Response:
        """The interface for people."""
        return _html(documentation(request.app.openapi()))

    async def _read(self, request: Request, schema: type[_Body]) -> _Body:
        """The body of a request, checked."""
        _check_type(request)
        raw = await self._body(request)
        try:
            asked = schema.model_validate_json(raw)
        except ValidationError as problem:
            raise _invalid(problem) from None
        try:
            check(asked, self._settings)
        except LimitExceeded as problem:
            raise HTTPException(422, str(problem)) from None
        return asked

    async def _body(self, request: Request) -> bytes:
        """All bytes of the body, unless they are too many or too slow; chunked ones are counted as they come."""
        limit = self._settings.max_body
        parts: list[bytes] = []
        length = 0
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                async for part in request.stream():
                    length += len(part)
                    if length > limit:
                        raise HTTPException(
                            413, f"the body is too large: at most {limit} bytes", {"Connection": "close"}
                        )
                    parts.append(part)
        except TimeoutError:
            raise HTTPException(408, "the body came too slowly", {"Connection": "close"}) from None
        return b"".join(parts)

    async def _recommend(
        self, request: Request, loaded: Loaded, asked: Sequence[RecommendRequest]
    ) -> list[dict[str, Any]]:
        """Replies to requests for recommendations, in their order."""
        decoded = loaded.runtime.decode([query_of(one) for one in asked])
        self._note(request, [one.history for one in asked])
        answers = await self._answers(request, loaded, [one.query for one in decoded])
        self._count(decoded, answers)
        return [
            recommend_reply(found, loaded.runtime.version)
            for found in loaded.runtime.encode(decoded, answers)
        ]

    async def _answers(self, request: Request, loaded: Loaded, asked: Sequence[DenseQuery]) -> list[Ranked]:
        """The model's answers; a client that goes away takes its queries along."""
        asking = asyncio.ensure_future(loaded.batcher.ask(asked, self._settings.deadline))
        leaving = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise HTTPException(499, "the client went away")
            answers, notes_of(request.scope).batch = asking.result()
        except QueueFull:
            raise HTTPException(503, "too many requests wait for the model", {"Retry-After": "1"}) from None
        except Expired:
            raise HTTPException(504, f"no answer within {self._settings.deadline:g} s") from None
        finally:
            asking.cancel()
            leaving.cancel()
        return answers

    def _note(self, request: Request, histories: list[Any]) -> None:
        if self._settings.log_histories:
            notes_of(request.scope).histories = histories

    def _count(self, decoded: Sequence[DecodedQuery], answers: Sequence[Ranked]) -> None:
        self._metrics.unknown.inc(sum(len(one.unknown) for one in decoded))
        self._metrics.popular.inc(sum(answer.popular for answer in answers))


def _reply(content: dict[str, Any]) -> Response:
    return Response(
        to_json(content, inf_nan_mode="null"),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _html(text: str) -> Response:
    return Response(text, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)


def _check_type(request: Request) -> None:
    """Only JSON: a form of another site cannot send it without asking the browser."""
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, f"Content-Type must be application/json, not {given[:100]!r}")


def _invalid(problem: ValidationError) -> RequestValidationError:
    """Pydantic's complaints without the values: those may be large, or no JSON."""
    complaints = problem.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in complaints])


async def _complain(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)
    complaints = [
        {"type": one["type"], "loc": list(one["loc"]), "msg": one["msg"]}
        for one in problem.errors()[:_COMPLAINTS]
    ]
    return Response(to_json({"detail": complaints}), 422, media_type="application/json")


async def _fail(_: Request, __: Exception) -> Response:
    return Response(
        to_json({"detail": "something went wrong here; the service's log says what"}),
        500,
        media_type="application/json",
    )


def _page() -> dict[str, bytes]:
    """The page's files by path."""
    folder = files("mclrec.serving") / "page"
    return {f"/{file.name}": file.read_bytes() for file in folder.iterdir() if file.is_file()}


def _add_page(app: FastAPI, page: dict[str, bytes]) -> None:
    for path, content in {**page, "/": page["/index.html"]}.items():
        kind = "text/html" if path == "/" else mimetypes.guess_type(path)[0] or "application/octet-stream"
        app.add_api_route(path, _file(content, kind), methods=["GET"], include_in_schema=False)


def _file(content: bytes, kind: str) -> _Endpoint:
    async def answer() -> Response:
        return Response(content, media_type=kind, headers=_PAGE_HEADERS)

    return answer
