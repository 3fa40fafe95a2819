"""The model store: the model that answers now, and its replacement without a failed request."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mclrec.errors import MclrecError, ModelFileError
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import Runtime
from mclrec.serving.rest.batcher import Batcher
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics, log_event

__all__ = ["Busy", "Loaded", "ModelStore", "fetch", "try_out"]


class Busy(Exception):
    """A reload is under way."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A runtime with the queue before it. A request takes one of these and stays with it."""

    runtime: Runtime
    batcher: Batcher


class ModelStore:
    """Holds the current model.

    Args:
        load: reads the directory anew; called in a thread.
        runtime: the first one.
        settings: sizes of batches and queues.
        metrics: are told of batches and models.
    """

    def __init__(
        self, load: Callable[[], Runtime], runtime: Runtime, settings: Settings, metrics: Metrics
    ) -> None:
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self.current = self._queued(runtime)

    async def reload(self) -> tuple[str, str]:
        """Read the directory anew, try the model out, put it in the place of the old one.

        Requests under way, and those in the queue, are answered by the old one.

        Returns:
            The versions after and before.

        Raises:
            Busy: another reload is under way.
            ModelFileError: the directory holds no model that answers; the old one stays.
        """
        if self._lock.locked():
            raise Busy
        async with self._lock:
            before = self.current
            try:
                runtime = await asyncio.to_thread(self._fetch)
            except MclrecError as problem:
                self._metrics.reloads.labels("refused").inc()
                log_event("reload refused", {"model": before.runtime.version, "reason": str(problem)})
                raise
            self.current = self._queued(runtime)
            self._metrics.reloads.labels("done").inc()
            log_event("reloaded", {"model": runtime.version, "before": before.runtime.version})
            return runtime.version, before.runtime.version

    def _fetch(self) -> Runtime:
        try:
            return fetch(self._load)
        except MclrecError:
            raise
        except Exception as problem:
            # Whatever is wrong with the new files, the old model goes on.
            raise ModelFileError(
                f"the model cannot be loaded: {type(problem).__name__}: {problem}"
            ) from problem

    def _queued(self, runtime: Runtime) -> Loaded:
        self._metrics.show_model(
            str(runtime.card.get("name")),
            runtime.version,
            str(runtime.card.get("engine")),
            runtime.engine.num_items,
        )
        settings = self._settings
        return Loaded(
            runtime,
            Batcher(
                runtime.engine.answer,
                size=settings.gathered,
                room=settings.max_queue,
                workers=settings.workers,
                observe=self._metrics.batches.observe,
            ),
        )


def fetch(load: Callable[[], Runtime]) -> Runtime:
    """Load a runtime that has answered once.

    What is loaded is kept out of garbage collection from then on: looking through all of it stops every request for a
    while. It is freed when nothing refers to it any more, as everything is.

    Raises:
        MclrecError: it cannot be loaded, or its answers make no sense.
    """
    runtime = load()
    try_out(runtime)
    gc.collect()
    gc.freeze()
    return runtime


def try_out(runtime: Runtime) -> None:
    """Ask a model for an answer to a history and to none, which also warms it up.

    Raises:
        ModelFileError: the answers make no sense.
    """
    runtime.catalogue.prepare()
    items = runtime.engine.num_items
    history = np.unique(np.linspace(1, items, num=min(items, 5), dtype=np.int64))
    k = min(items, 10)
    queries = [DenseQuery(history[:length], k) for length in range(len(history) + 1)]
    answers = runtime.engine.answer(queries)
    if not _good(answers, len(queries), k, items) or len(runtime.catalogue) != items:
        raise ModelFileError("the model loads, but its answers make no sense; train or export it again")


def _good(answers: Sequence[Ranked], number: int, k: int, items: int) -> bool:
    return len(answers) == number and all(
        len(answer.items) == k
        and bool(np.isfinite(answer.scores).all())
        and 1 <= int(answer.items.min()) <= int(answer.items.max()) <= items
        for answer in answers
    )
