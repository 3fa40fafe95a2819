"""Endpoints for operators: health, readiness, model card, model reload, metrics and API documentation."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from mclrec.errors import ConfigError, MclrecError
from mclrec.serving.rest import schemas
from mclrec.serving.rest.arms import Arm, Arms
from mclrec.serving.rest.bodies import BodyReader, check_type
from mclrec.serving.rest.documentation import documentation
from mclrec.serving.rest.middleware import Middleware
from mclrec.serving.rest.model_store import Busy
from mclrec.serving.rest.page_files import html
from mclrec.serving.rest.pool import WorkPool
from mclrec.serving.rest.query_names import refuse_unknown_names
from mclrec.serving.rest.replies import AGAIN, json_reply
from mclrec.serving.rest.schemas import describe, problems
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics

__all__ = ["Operations"]

_Endpoint = Callable[..., Coroutine[Any, Any, Response]]

_ArmQuery = Annotated[str | None, Query(max_length=32, description="Name of an arm, if there are several.")]


class Operations:
    """The endpoints that do not query a model.

    Args:
        arms: the models.
        settings: limits.
        metrics: the metrics to show.
        middleware: knows whether the service is shutting down.
        bodies: reads the bodies of reload requests.
    """

    def __init__(
        self, arms: Arms, settings: Settings, metrics: Metrics, middleware: Middleware, bodies: BodyReader
    ) -> None:
        self._arms, self._settings, self._bodies = arms, settings, bodies
        self._metrics, self._middleware = metrics, middleware
        self._telling = WorkPool(1, settings.max_lookups, "metrics")  # so that a busy service can be watched

    def register(self, app: FastAPI) -> None:
        """Add all endpoints and the OpenAPI document."""
        app.openapi = lambda: describe(app, self._settings)  # type: ignore[method-assign]
        gets: list[tuple[str, _Endpoint, type[BaseModel] | None, tuple[int, ...]]] = [
            ("/health", self.health, schemas.State, ()),
            ("/ready", self.ready, schemas.State, (503,)),
            ("/metrics", self.show_metrics, None, (401, 503)),
        ]
        for path, endpoint, given, statuses in gets:
            good: dict[str, Any] = (
                {"content": {"text/plain": {}}} if endpoint == self.show_metrics else {"model": given}
            )
            app.add_api_route(path, endpoint, methods=["GET"], responses={200: good, **problems(*statuses)})
        named: dict[str, Any] = {"dependencies": [Depends(refuse_unknown_names)]}
        shown = {200: {"model": None}, **problems(401, 503)}
        app.add_api_route("/model", self.model, methods=["GET"], responses=shown, **named)
        reloaded = {200: {"model": schemas.Reloaded}, **problems(401, 408, 409, 413, 415, 503)}
        app.add_api_route("/model/reload", self.reload, methods=["POST"], responses=reloaded, **named)
        for path, endpoint in (("/openapi.json", self.openapi), ("/docs", self.docs)):
            app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False)

    async def health(self) -> Response:
        """Whether the process is alive."""
        return json_reply(b'{"status":"alive"}')

    async def ready(self) -> Response:
        """Whether requests should be sent here."""
        if self._middleware.draining:
            raise HTTPException(503, "the service is shutting down", AGAIN)
        return json_reply(b'{"status":"ready"}')

    async def model(self, arm: _ArmQuery = None) -> Response:
        """The card of the model: name, version, configuration, data, protocol, metrics."""
        chosen = self._named(arm)
        card = dict(chosen.models.current.runtime.card)
        if self._arms.several:
            card["arm"] = chosen.name
            card["arms"] = {
                one.name: {"model": one.models.current.runtime.version, "share": one.share}
                for one in self._arms
            }
        return json_reply(to_json(card, inf_nan_mode="null"))

    async def show_metrics(self) -> Response:
        """Metrics for Prometheus."""
        text = await self._telling.run(self._settings.deadline, self._metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def reload(self, request: Request, arm: _ArmQuery = None) -> Response:
        """Reload the model from its directory and serve it from now on. No request fails because of it.

        If there are several models, all are reloaded, or only the one that `arm` names.
        """
        if "content-type" in request.headers:
            check_type(request)
        await self._bodies.expect_nothing(request, "name an arm by ?arm=NAME in the address")
        done: list[dict[str, Any]] = []
        refused = []
        for one in [self._named(arm)] if arm is not None else self._arms:
            named = {"arm": one.name} if one.name else {}
            try:
                done.append({**asdict(await one.models.reload()), **named})
            except Busy:
                refused.append(f"{one.name}: a reload is under way".removeprefix(": "))
            except MclrecError as problem:
                refused.append(f"{one.name}: {problem}".removeprefix(": "))
        if refused:
            also = "".join(f"; {one['arm']} now answers with {one['model']}" for one in done)
            raise HTTPException(409, "; ".join(refused) + also)
        further = {"arms": done} if len(done) > 1 else {}
        return json_reply(to_json({**done[0], **further}))

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        return json_reply(
            await self._telling.run(self._settings.deadline, lambda: to_json(request.app.openapi()))
        )

    async def docs(self, request: Request) -> Response:
        """The documentation page."""
        return html(
            await self._telling.run(self._settings.deadline, lambda: documentation(request.app.openapi()))
        )

    def _named(self, name: str | None) -> Arm:
        """An arm by its name; the first arm if None.

        Raises:
            HTTPException: there is no arm of that name.
        """
        try:
            return self._arms.first if name is None else self._arms.named(name)
        except ConfigError as problem:
            raise HTTPException(422, str(problem)) from None
