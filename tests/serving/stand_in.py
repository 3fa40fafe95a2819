"""A service with the interface that the page uses, as plainly as can be: no queue, no limits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from unicodedata import combining, normalize

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from mclrec.serving.page import router
from mclrec.serving.predictor import Model


class Wanted(BaseModel):
    history: list[str | int]
    k: int = 10
    include_seen: bool = False
    items: list[str | int] = []


def folded(text: str) -> str:
    return "".join(letter for letter in normalize("NFD", text.lower()) if not combining(letter))


def stand_in(directory: Path, key: str | None = None) -> FastAPI:
    model = Model.load(directory)
    kind: type[Any] = int if model.items.integers else str
    app = FastAPI()
    app.include_router(router)

    def known(history: list[str | int]) -> list[Any]:
        return [kind(item) for item in history if str(item) in {str(name) for name in model.items}]

    def answers(history: list[Any], k: int, include_seen: bool) -> dict[Any, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(model.recommend(history, k, include_seen=include_seen))

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        free = request.url.path == "/" or request.url.path.startswith("/page/")
        if key is None or free or request.headers.get("Authorization") == f"Bearer {key}":
            passed: Response = await call_next(request)
            return passed
        return JSONResponse({"detail": "an API key is needed"}, 401)

    @app.post("/recommend")
    def recommend(wanted: Wanted) -> Any:
        history = known(wanted.history)
        found = answers(history, wanted.k, wanted.include_seen)
        unknown = [item for item in wanted.history if not known([item])]
        items = [{"item": item, "score": score} for item, score in found.items()]
        return {"items": items, "unknown": unknown, "popular": not history, "model": "x"}

    @app.post("/explain")
    def explain(wanted: Wanted) -> Any:
        size = len(model.items)
        whole = answers(wanted.history, size, True)
        less = [answers(wanted.history[:at] + wanted.history[at + 1 :], size, True) for at in range(len(wanted.history))]
        return {
            "items": [
                {
                    "item": item,
                    "score": whole[item],
                    "because": [
                        {"position": at, "item": left, "difference": whole[item] - less[at][item]}
                        for at, left in enumerate(wanted.history)
                    ],
                }
                for item in wanted.items
            ],
            "unknown": [],
            "model": "x",
        }

    @app.get("/items")
    def items(q: str = "", limit: int = 20) -> Any:
        found = [item for item in answers([], len(model.items), False) if folded(q) in folded(str(item))]
        return {"items": [{"item": item, "count": 9} for item in found[:limit]], "total": len(found)}

    @app.get("/similar/{item:path}")
    def similar(item: str, k: int = 10) -> Any:
        if kind is int:
            raise HTTPException(409, "markov has no item vectors")
        return {"items": [{"item": name, "score": 0.5} for name in model.items if name != item][:k], "model": "x"}

    @app.get("/model")
    def card() -> Any:
        return {"name": model.name, "version": "x", "items": len(model.items), "data": {"name": "tiny"}, "metrics": {}}

    return app
