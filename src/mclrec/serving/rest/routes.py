"""The application: routes that query a model, and assembly of the ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.routing import Match, Route
from starlette.types import Receive, Scope

from mclrec.errors import ConfigError, EvaluationError
from mclrec.inference import queries
from mclrec.inference.explain import LeaveOneOut
from mclrec.inference.name_index import MOST_WORDS, words_of
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import DecodedQuery, Runtime
from mclrec.serving.rest import schemas
from mclrec.serving.rest.arms import Arm, Arms
from mclrec.serving.rest.bodies import BodyReader
from mclrec.serving.rest.departures import while_attended
from mclrec.serving.rest.direct import Direct, raise_failure_of
from mclrec.serving.rest.keys import KeyRing
from mclrec.serving.rest.middleware import Middleware, notes_of
from mclrec.serving.rest.model_store import Loaded, ModelStore
from mclrec.serving.rest.operations import Operations
from mclrec.serving.rest.page_files import add_page, page_files
from mclrec.serving.rest.pool import WorkPool
from mclrec.serving.rest.query_names import refuse_unknown_names
from mclrec.serving.rest.replies import add_refusals, json_reply
from mclrec.serving.rest.schemas import (
    DESCRIPTION,
    LONGEST_ID,
    BatchRequest,
    EventsRequest,
    ExplainRequest,
    RecommendRequest,
    body,
)
from mclrec.serving.rest.session_requests import SessionRequests
from mclrec.serving.rest.sessions import Limits, SessionMemory, SessionStore
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.sites import Sites
from mclrec.serving.rest.telemetry import Metrics
from mclrec.serving.rest.tracing import Tracing, engine_time
from mclrec.serving.rest.translation import (
    events_reply,
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

_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""Turns off telemetry of newer FastAPI, which sees only some requests, and those twice; older FastAPI ignores it."""

_FEW_IDS = 512
"""Number of ids up to which they are looked up on the event loop, in a fraction of a millisecond, not in a thread."""


def make_app(
    models: ModelStore | Arms,
    settings: Settings,
    metrics: Metrics,
    keys: KeyRing | None = None,
    admin: KeyRing | None = None,
    sites: Sites | None = None,
    sessions: SessionStore | None = None,
    tracing: Tracing | None = None,
) -> Middleware:
    """The service as an ASGI application; see `Middleware`; ``sessions`` are in memory if None."""
    app = FastAPI(
        title="mclrec",
        version=version("mclrec"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    add_refusals(app)
    page = page_files()
    public = frozenset({"/", "/health", "/ready", *page})
    middleware = Middleware(
        app, settings, metrics, keys, admin, sites or Sites(), public, partial(_route_of, app), tracing
    )
    sessions = sessions or SessionMemory(Limits.of(settings), metrics)
    arms = Arms.of(models)
    metrics.watch(
        arms.waiting,
        lambda: middleware.connections(),
        lambda: middleware.in_flight,
        sessions.held,
    )
    routes = _Routes(arms, settings, metrics, SessionRequests(sessions, metrics))
    routes.register(app)
    Operations(arms, settings, metrics, middleware, routes.bodies).register(app)
    middleware.app = Direct(app, _route(app, "/recommend"), routes.recommended)
    add_page(app, page)
    return middleware


class _Routes:
    """The endpoints. Each takes the current model once, after its body is read, and keeps it to the end.

    Work that may take longer than a millisecond is done in threads (`_do`, `_work`), to keep the event loop free.
    """

    def __init__(self, arms: Arms, settings: Settings, metrics: Metrics, sessions: SessionRequests) -> None:
        self._arms = arms
        self._settings = settings
        self._metrics = metrics
        self._sessions = sessions
        self._pool = WorkPool(settings.lookup_threads, settings.max_lookups, "lookup")
        self.bodies = BodyReader(settings, self._pool)

    def register(self, app: FastAPI) -> None:
        """Add the endpoints."""
        add = partial(app.add_api_route, dependencies=[Depends(refuse_unknown_names)])
        problems = schemas.problems
        posts: list[tuple[str, _Endpoint, type[BaseModel], type[BaseModel]]] = [
            ("/recommend", self.recommend, RecommendRequest, schemas.Answer),
            ("/recommend/batch", self.recommend_batch, BatchRequest, schemas.Answers),
            ("/explain", self.explain, ExplainRequest, schemas.ExplainAnswer),
            ("/events", self.events, EventsRequest, schemas.EventsAnswer),
        ]
        for path, endpoint, asks, gives in posts:
            responses = {200: {"model": gives}, **problems(401, 408, 413, 415, 503, 504)}
            add(path, endpoint, methods=["POST"], responses=responses, openapi_extra=body(asks))
        for path, endpoint, given, statuses in (
            ("/items", self.items, schemas.Found, (401, 503, 504)),
            ("/similar/{item:path}", self.similar, schemas.Similar, (401, 404, 409, 503, 504)),
        ):
            add(path, endpoint, methods=["GET"], responses={200: {"model": given}, **problems(*statuses)})

    async def recommend(self, request: Request) -> Response:
        """The items that come next after a history."""
        raise_failure_of(request.scope)
        return json_reply(await self.recommended(request.scope, request.receive))

    async def recommended(self, scope: Scope, receive: Receive) -> bytes:
        """JSON of the answer to `POST /recommend`; called by `recommend` and by `Direct`."""
        request = Request(scope, receive)
        asked = await self.bodies.read(request, RecommendRequest)
        return await self._recommend(request, [asked], lambda replies: replies[0])

    async def recommend_batch(self, request: Request) -> Response:
        """Several requests at once, answered in order."""
        asked = (await self.bodies.read(request, BatchRequest)).requests
        return json_reply(await self._recommend(request, asked, lambda replies: {"answers": replies}))

    async def explain(self, request: Request) -> Response:
        """How items of the history affect the scores of some items: the difference that leaving each out makes."""
        asked, until = await self.bodies.read(request, ExplainRequest), self._deadline()
        arm = self._arm(asked.user, None, asked.arm)[0]
        loaded, told = arm.models.current, self._told_arm(request, arm)

        def plan_queries() -> LeaveOneOut:
            try:
                return LeaveOneOut.of(loaded.runtime, asked.history, asked.items, asked.user)
            except KeyError as unknown:
                raise HTTPException(422, loaded.runtime.catalogue.unknown_item(unknown.args[0])) from None

        plan = await self._work(request, until, plan_queries)
        self._note(request, [asked.history])
        answers = await self._answers(request, loaded, until, plan.queries)
        return json_reply(
            await self._work(request, until, lambda: _json(explanation_reply(plan, answers) | told))
        )

    async def events(self, request: Request) -> Response:
        """Add items to a session, which `POST /recommend` can then refer to by its key."""
        asked, until = await self.bodies.read(request, EventsRequest), self._deadline()
        arm = self._arm(None, asked.session, None)[0]
        runtime, told = arm.models.current.runtime, self._told_arm(request, arm)
        [found] = await self._do(
            request, until, len(asked.items), lambda: runtime.decode([queries.Query(asked.items)])
        )
        added = await while_attended(request.receive, self._sessions.add(asked, self._left(until)))
        self._metrics.unknown.inc(len(found.unknown))
        return json_reply(_json(events_reply(runtime, added, found) | told))

    async def items(
        self,
        request: Request,
        q: Annotated[str, Query(max_length=200, description="Parts of words; empty: popular items.")] = "",
        limit: Annotated[int, Query(ge=1, le=200, description="How many items are listed.")] = 20,
    ) -> Response:
        """Search items by parts of the words of their ids; case and accents do not matter."""
        if len(words := words_of(q)) > MOST_WORDS:
            raise HTTPException(422, f"q has {len(words)} words: at most {MOST_WORDS}")
        await self.bodies.skip(request)
        catalogue = self._arms.first.models.current.runtime.catalogue
        return json_reply(
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
            raise HTTPException(422, f"the item has {len(item)} characters: at most {LONGEST_ID}")
        await self.bodies.skip(request)
        runtime = self._arms.first.models.current.runtime
        if (trace := notes_of(request.scope).trace) is not None:
            trace.asks(runtime.version, 0, k)

        def find() -> bytes:
            dense = runtime.catalogue.dense(item)
            if not dense:
                raise HTTPException(404, runtime.catalogue.unknown_item(item))
            try:
                with engine_time(trace):
                    found = runtime.similar(dense, queries.Query(k=k))
                return _json(similar_reply(runtime, found))
            except EvaluationError as problem:
                raise HTTPException(409, str(problem)) from None

        return json_reply(await self._work(request, self._deadline(), find))

    async def _recommend(
        self,
        request: Request,
        asked: Sequence[RecommendRequest],
        shape: Callable[[list[dict[str, Any]]], dict[str, Any]],
    ) -> bytes:
        """JSON of the answers to requests for recommendations, in order."""
        until, held = self._deadline(), None
        if any(one.session is not None for one in asked):
            asked, held = await while_attended(
                request.receive, self._sessions.extend(asked, self._left(until))
            )
        self._note(request, [one.history for one in asked])
        if self._arms.several or any(one.arm is not None for one in asked):
            return await self._recommend_by_arms(request, until, asked, held, shape)
        loaded = self._arms.first.models.current
        return await self._answered(request, loaded, until, asked, held, lambda found: _json(shape(found)))

    async def _recommend_by_arms(
        self,
        request: Request,
        until: float,
        asked: Sequence[RecommendRequest],
        held: Sequence[int | None] | None,
        shape: Callable[[list[dict[str, Any]]], dict[str, Any]],
    ) -> bytes:
        """`_recommend` for an A/B test, in which each request may have another model."""
        places: dict[str, list[int]] = {}
        chosen = [self._arm(one.user, one.session, one.arm) for one in asked]
        for place, (arm, by) in enumerate(chosen):
            places.setdefault(arm.name, []).append(place)
            self._metrics.assigned.labels(arm.name, by).inc()
        replies: list[dict[str, Any]] = [{}] * len(asked)
        notes_of(request.scope).arm = ",".join(places)
        for name, own in places.items():
            loaded = self._arms.named(name).models.current
            some = None if held is None else [held[place] for place in own]
            found = await self._answered(request, loaded, until, [asked[one] for one in own], some, _same)
            for place, reply in zip(own, found, strict=True):
                replies[place] = {**reply, "arm": name}
        listed = sum(len(reply["items"]) for reply in replies)
        return await self._do(request, until, listed, lambda: _json(shape(replies)))

    def _arm(self, user: schemas.Id | None, session: str | None, named: str | None) -> tuple[Arm, str]:
        """The arm of a request, and what it is chosen by.

        Raises:
            HTTPException: the request names an unknown arm.
        """
        if named is None:
            return self._arms.choose(user, session)
        try:
            return self._arms.named(named), "arm"
        except ConfigError as problem:
            raise HTTPException(422, str(problem)) from None

    def _told_arm(self, request: Request, arm: Arm) -> dict[str, Any]:
        """What an answer says about its arm, which is also noted for the log; nothing if there is one model."""
        if not self._arms.several:
            return {}
        notes_of(request.scope).arm = arm.name
        return {"arm": arm.name}

    async def _answered(
        self,
        request: Request,
        loaded: Loaded,
        until: float,
        asked: Sequence[RecommendRequest],
        held: Sequence[int | None] | None,
        finish: Callable[[list[dict[str, Any]]], _T],
    ) -> _T:
        """Answer requests with one model; return ``finish`` of the replies, which are in order."""
        runtime = loaded.runtime
        decoded = await self._do(request, until, sum(map(ids_in, asked)), lambda: _decoded(runtime, asked))
        answers = await self._answers(request, loaded, until, [one.query for one in decoded])
        self._count(decoded, answers)
        listed = sum(len(answer.items) for answer in answers) + sum(len(one.unknown) for one in decoded)
        return await self._do(
            request, until, listed, lambda: finish(recommend_replies(runtime, decoded, answers, held))
        )

    def _deadline(self) -> float:
        """Time of the event loop by which a request that has just been read must be answered."""
        return asyncio.get_running_loop().time() + self._settings.deadline

    async def _do(self, request: Request, until: float, ids: int, work: Callable[[], _T]) -> _T:
        """Run ``work`` on the given number of ids and return its result: on the event loop if they are few."""
        return work() if ids <= _FEW_IDS else await self._work(request, until, work)

    async def _work(self, request: Request, until: float, work: Callable[[], _T]) -> _T:
        """Run ``work`` in a thread and return its result."""
        return await while_attended(request.receive, self._pool.run(self._left(until), work))

    async def _answers(
        self, request: Request, loaded: Loaded, until: float, asked: Sequence[DenseQuery]
    ) -> list[Ranked]:
        """Answer queries with a model through its queue."""
        notes = notes_of(request.scope)
        if notes.trace is not None:
            notes.trace.asks(loaded.runtime.version, len(asked), sum(query.k for query in asked))
        asking = loaded.batcher.ask(asked, self._left(until))
        answered = await while_attended(request.receive, asking)
        notes.batch = max(notes.batch or 0, answered.batch)  # of all arms that answer a part
        if notes.trace is not None:
            notes.trace.engine_seconds += answered.seconds
        return answered.answers

    def _left(self, until: float) -> float:
        return max(0.0, until - asyncio.get_running_loop().time())

    def _note(self, request: Request, histories: list[Any]) -> None:
        if self._settings.log_histories:
            notes_of(request.scope).histories = histories

    def _count(self, decoded: Sequence[DecodedQuery], answers: Sequence[Ranked]) -> None:
        self._metrics.unknown.inc(sum(len(one.unknown) for one in decoded))
        self._metrics.popular.inc(sum(answer.popular for answer in answers))


def _decoded(runtime: Runtime, asked: Sequence[RecommendRequest]) -> list[DecodedQuery]:
    """Requests decoded into the model's ids.

    Raises:
        HTTPException: a rule is malformed, or names an unknown column or value.
    """
    try:
        return runtime.decode([query_of(one) for one in asked])
    except ConfigError as problem:
        raise HTTPException(422, str(problem)) from None


def _route(app: FastAPI, path: str) -> Route:
    return next(route for route in app.routes if isinstance(route, Route) and route.path == path)


def _route_of(app: FastAPI, scope: Scope) -> str:
    """Declared path of the route that a request matches; "other" if there is none."""
    for route in app.routes:
        if route.matches(scope)[0] is not Match.NONE:
            return getattr(route, "path_format", "other")
    return "other"


def _json(content: dict[str, Any]) -> bytes:
    return to_json(content, inf_nan_mode="null")


def _same(replies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return replies
