"""The application: routes, reading of bodies, and the status of each error."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.routing import Match, Route
from starlette.types import Receive, Scope

from mclrec.errors import EvaluationError, MclrecError
from mclrec.inference import queries
from mclrec.inference.explain import LeaveOneOut
from mclrec.inference.name_index import MOST_WORDS, words_of
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import DecodedQuery
from mclrec.serving.rest import schemas
from mclrec.serving.rest.batcher import Expired, QueueFull
from mclrec.serving.rest.bodies import BodyReader, check_type, complaints_of
from mclrec.serving.rest.departures import while_attended
from mclrec.serving.rest.direct import Direct, raise_failure_of
from mclrec.serving.rest.documentation import documentation
from mclrec.serving.rest.keys import KeyRing
from mclrec.serving.rest.middleware import Middleware, notes_of
from mclrec.serving.rest.model_store import Busy, Loaded, ModelStore
from mclrec.serving.rest.pool import WorkPool
from mclrec.serving.rest.schemas import (
    DESCRIPTION,
    LONGEST_ID,
    BatchRequest,
    ExplainRequest,
    RecommendRequest,
    body,
    describe,
)
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.sites import Sites
from mclrec.serving.rest.telemetry import Metrics
from mclrec.serving.rest.translation import (
    explanation_reply,
    ids_in,
    query_of,
    recommend_replies,
    search_reply,
    similar_reply,
)

__all__ = ["make_app"]

_Endpoint = Callable[..., Coroutine[Any, Any, Response]]
_T = TypeVar("_T")

_FEW_IDS = 512
"""Ids that are looked up at once, in a fraction of a millisecond; more are looked up in a thread."""

_AGAIN = {"Retry-After": "1"}

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Pages take everything from here, and are shown in no other page."""


def make_app(
    models: ModelStore,
    settings: Settings,
    metrics: Metrics,
    keys: KeyRing | None = None,
    admin: KeyRing | None = None,
    sites: Sites | None = None,
) -> Middleware:
    """The service as an ASGI application; see `Middleware` for keys and sites."""
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
    app.add_exception_handler(QueueFull, _queue_full)
    app.add_exception_handler(Expired, _expired)
    app.add_exception_handler(Exception, _fail)
    page = _page()
    public = frozenset({"/", "/health", "/ready", *page})
    middleware = Middleware(
        app, settings, metrics, keys, admin, sites or Sites(), public, partial(_route_of, app)
    )
    metrics.watch(
        lambda: models.current.batcher.waiting, lambda: middleware.connections(), lambda: middleware.in_flight
    )
    routes = _Routes(models, settings, metrics, middleware)
    routes.register(app)
    middleware.app = Direct(app, _route(app, "/recommend"), routes.recommended)
    _add_page(app, page)
    return middleware


class _Routes:
    """The endpoints. Each takes the current model once, before it waits, and stays with it.

    What may take longer than a millisecond is done in threads (`_do`, `_work`), so that the event loop goes on.
    """

    def __init__(
        self, models: ModelStore, settings: Settings, metrics: Metrics, middleware: Middleware
    ) -> None:
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self._middleware = middleware
        self._pool = WorkPool(settings.lookup_threads, settings.max_lookups, "lookup")
        self._telling = WorkPool(1, settings.max_lookups, "metrics")  # so that a busy service can be watched
        self._bodies = BodyReader(settings, self._pool)

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
            ("/items", self.items, schemas.Found, (401, 503, 504)),
            ("/similar/{item:path}", self.similar, schemas.Similar, (401, 404, 409, 503, 504)),
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
        raise_failure_of(request.scope)
        return _reply(await self.recommended(request.scope, request.receive))

    async def recommended(self, scope: Scope, receive: Receive) -> bytes:
        """JSON of the answer of `recommend`."""
        request = Request(scope, receive)
        asked = await self._bodies.read(request, RecommendRequest)
        return await self._recommend(request, [asked], lambda replies: replies[0])

    async def recommend_batch(self, request: Request) -> Response:
        """Several requests at once, answered in their order."""
        asked = (await self._bodies.read(request, BatchRequest)).requests
        return _reply(await self._recommend(request, asked, lambda replies: {"answers": replies}))

    async def explain(self, request: Request) -> Response:
        """Which items of the history move the scores of some items: the difference that leaving each out makes."""
        asked, until = await self._bodies.read(request, ExplainRequest), self._deadline()
        loaded = self._models.current

        def plan_queries() -> LeaveOneOut:
            try:
                return LeaveOneOut.of(loaded.runtime, asked.history, asked.items, asked.user)
            except KeyError as unknown:
                raise HTTPException(422, loaded.runtime.catalogue.unknown_item(unknown.args[0])) from None

        plan = await self._work(request, until, plan_queries)
        self._note(request, [asked.history])
        answers = await self._answers(request, loaded, until, plan.queries)
        return _reply(await self._work(request, until, lambda: _json(explanation_reply(plan, answers))))

    async def items(
        self,
        request: Request,
        q: Annotated[str, Query(max_length=200, description="Parts of words; empty: popular items.")] = "",
        limit: Annotated[int, Query(ge=1, le=200, description="How many are listed.")] = 20,
    ) -> Response:
        """Search items by parts of the words of their ids; case and accents do not matter."""
        if len(words := words_of(q)) > MOST_WORDS:
            raise HTTPException(422, f"q has {len(words)} words: at most {MOST_WORDS}")
        await self._bodies.skip(request)
        catalogue = self._models.current.runtime.catalogue
        return _reply(
            await self._work(request, self._deadline(), lambda: _json(search_reply(catalogue, q, limit)))
        )

    async def similar(
        self,
        request: Request,
        item: str,
        k: Annotated[int, Query(ge=1, description="How many items.")] = 10,
    ) -> Response:
        """The items whose vectors are nearest to an item's."""
        if k > self._settings.max_k:
            raise HTTPException(422, f"k = {k}: at most {self._settings.max_k}")
        if len(item) > LONGEST_ID:
            raise HTTPException(422, f"the item has {len(item)} letters: at most {LONGEST_ID}")
        await self._bodies.skip(request)
        runtime = self._models.current.runtime

        def find() -> bytes:
            dense = runtime.catalogue.dense(item)
            if not dense:
                raise HTTPException(404, runtime.catalogue.unknown_item(item))
            try:
                return _json(similar_reply(runtime, runtime.similar(dense, queries.Query(k=k))))
            except EvaluationError as problem:
                raise HTTPException(409, str(problem)) from None

        return _reply(await self._work(request, self._deadline(), find))

    async def health(self) -> Response:
        """Whether the process lives."""
        return _reply(b'{"status":"alive"}')

    async def ready(self) -> Response:
        """Whether requests should be sent here."""
        if self._middleware.draining:
            raise HTTPException(503, "the service is going down", _AGAIN)
        return _reply(b'{"status":"ready"}')

    async def model(self) -> Response:
        """The card of the model: name, version, configuration, data, protocol, metrics."""
        return _reply(_json(dict(self._models.current.runtime.card)))

    async def show_metrics(self) -> Response:
        """Metrics for Prometheus."""
        text = await self._telling.run(self._settings.deadline, self._metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def reload(self, request: Request) -> Response:
        """Read the model's directory anew and let it answer from now on. No request fails for it."""
        if "content-type" in request.headers:
            check_type(request)
        try:
            done = await self._models.reload()
        except Busy:
            raise HTTPException(409, "a reload is under way") from None
        except MclrecError as problem:
            raise HTTPException(409, str(problem)) from None
        return _reply(to_json(done))

    async def openapi(self, request: Request) -> Response:
        """The interface for machines."""
        return _reply(
            await self._telling.run(self._settings.deadline, lambda: to_json(request.app.openapi()))
        )

    async def docs(self, request: Request) -> Response:
        """The interface for people."""
        return _html(
            await self._telling.run(self._settings.deadline, lambda: documentation(request.app.openapi()))
        )

    async def _recommend(
        self,
        request: Request,
        asked: Sequence[RecommendRequest],
        shape: Callable[[list[dict[str, Any]]], dict[str, Any]],
    ) -> bytes:
        """JSON of the answers to requests for recommendations, in their order."""
        loaded, until = self._models.current, self._deadline()
        runtime = loaded.runtime
        decoded = await self._do(
            request, until, sum(map(ids_in, asked)), lambda: runtime.decode([query_of(one) for one in asked])
        )
        self._note(request, [one.history for one in asked])
        answers = await self._answers(request, loaded, until, [one.query for one in decoded])
        self._count(decoded, answers)
        listed = sum(len(answer.items) for answer in answers) + sum(len(one.unknown) for one in decoded)
        return await self._do(
            request, until, listed, lambda: _json(shape(recommend_replies(runtime, decoded, answers)))
        )

    def _deadline(self) -> float:
        """Time of the loop by which a request that has been read is answered."""
        return asyncio.get_running_loop().time() + self._settings.deadline

    async def _do(self, request: Request, until: float, ids: int, work: Callable[[], _T]) -> _T:
        """The result of ``work`` on so many ids: at once if they are few."""
        return work() if ids <= _FEW_IDS else await self._work(request, until, work)

    async def _work(self, request: Request, until: float, work: Callable[[], _T]) -> _T:
        """The result of ``work``, done in a thread."""
        return await while_attended(request.receive, self._pool.run(self._left(until), work))

    async def _answers(
        self, request: Request, loaded: Loaded, until: float, asked: Sequence[DenseQuery]
    ) -> list[Ranked]:
        """The model's answers."""
        asking = loaded.batcher.ask(asked, self._left(until))
        answers, notes_of(request.scope).batch = await while_attended(request.receive, asking)
        return answers

    def _left(self, until: float) -> float:
        return max(0.0, until - asyncio.get_running_loop().time())

    def _note(self, request: Request, histories: list[Any]) -> None:
        if self._settings.log_histories:
            notes_of(request.scope).histories = histories

    def _count(self, decoded: Sequence[DecodedQuery], answers: Sequence[Ranked]) -> None:
        self._metrics.unknown.inc(sum(len(one.unknown) for one in decoded))
        self._metrics.popular.inc(sum(answer.popular for answer in answers))


def _route(app: FastAPI, path: str) -> Route:
    return next(route for route in app.routes if isinstance(route, Route) and route.path == path)


def _route_of(app: FastAPI, scope: Scope) -> str:
    """Path of the route that a request is for, as it was declared."""
    for route in app.routes:
        if route.matches(scope)[0] is not Match.NONE:
            return getattr(route, "path_format", "other")
    return "other"


def _json(content: dict[str, Any]) -> bytes:
    return to_json(content, inf_nan_mode="null")


def _reply(content: bytes) -> Response:
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})


def _html(text: str) -> Response:
    return Response(text, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)


async def _complain(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)
    return Response(to_json(complaints_of(problem)), 422, media_type="application/json")


async def _queue_full(_: Request, __: Exception) -> Response:
    return _refusal(503, "too much waits to be done", _AGAIN)


async def _expired(_: Request, __: Exception) -> Response:
    return _refusal(504, "no answer before the deadline")


async def _fail(_: Request, __: Exception) -> Response:
    return _refusal(500, "something went wrong here; the service's log says what")


def _refusal(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json({"detail": detail}), status, headers, media_type="application/json")


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
