"""The model that answers now, and how another takes its place without a failed request."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mclrec.errors import MclrecError, ModelFileError
from mclrec.serving.engine import Answer, Question
from mclrec.serving.rest.batcher import Batcher
from mclrec.serving.rest.logs import log_event
from mclrec.serving.rest.metrics import Metrics
from mclrec.serving.rest.settings import Settings
from mclrec.serving.service import Service

__all__ = ["Busy", "Loaded", "Models", "fetch", "try_out"]


class Busy(Exception):
    """A reload is under way."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A service with the queue before it. A request takes one of these and stays with it."""

    service: Service
    batcher: Batcher


class Models:
    """Holds the current model.

    Args:
        load: reads the directory anew; called in a thread.
        service: the first one.
        settings: sizes of batches and queues.
        metrics: are told of batches and models.
    """

    def __init__(
        self, load: Callable[[], Service], service: Service, settings: Settings, metrics: Metrics
    ) -> None:
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self.current = self._queued(service)

    async def reload(self) -> tuple[str, str]:
        """Read the directory anew, try the model out, put it in the place of the old one.

        Requests under way, and those in the queue, are answered by the old one.

        Returns:
            The versions after and before.

        Raises:
            Busy: another reload is under way.
            ModelFileError: the directory is not a model that answers; the old one stays.
        """
        if self._lock.locked():
            raise Busy
        async with self._lock:
            before = self.current
            try:
                service = await asyncio.to_thread(self._fetch)
            except MclrecError as problem:
                self._metrics.reloads.labels("refused").inc()
                log_event("reload refused", {"model": before.service.version, "reason": str(problem)})
                raise
            self.current = self._queued(service)
            self._metrics.reloads.labels("done").inc()
            log_event("reloaded", {"model": service.version, "before": before.service.version})
            return service.version, before.service.version

    def _fetch(self) -> Service:
        try:
            return fetch(self._load)
        except MclrecError:
            raise
        except Exception as problem:
            # Whatever is wrong with the new files, the old model goes on.
            raise ModelFileError(
                f"the model cannot be loaded: {type(problem).__name__}: {problem}"
            ) from problem

    def _queued(self, service: Service) -> Loaded:
        self._metrics.show_model(
            str(service.card.get("name")),
            service.version,
            str(service.card.get("engine")),
            service.engine.num_items,
        )
        settings = self._settings
        return Loaded(
            service,
            Batcher(
                service.engine.answer,
                size=settings.gathered,
                room=settings.max_queue,
                workers=settings.workers,
                observe=self._metrics.batches.observe,
            ),
        )


def fetch(load: Callable[[], Service]) -> Service:
    """A service that has answered once.

    What is loaded is kept out of garbage collection from then on: looking through all of it stops every request for a
    while. It goes when nobody has it any more, as everything does.

    Raises:
        MclrecError: it cannot be loaded, or its answers make no sense.
    """
    service = load()
    try_out(service)
    gc.collect()
    gc.freeze()
    return service


def try_out(service: Service) -> None:
    """Ask a model for an answer to a history and to none, which also warms it up.

    Raises:
        ModelFileError: the answers are none.
    """
    items = service.engine.num_items
    history = np.unique(np.linspace(1, items, num=min(items, 5), dtype=np.int64))
    k = min(items, 10)
    questions = [Question(history[:length], k) for length in range(len(history) + 1)]
    answers = service.engine.answer(questions)
    if not _good(answers, len(questions), k, items) or len(service.catalogue) != items:
        raise ModelFileError("the model loads, but its answers make no sense; train or export it again")


def _good(answers: Sequence[Answer], number: int, k: int, items: int) -> bool:
    return len(answers) == number and all(
        len(answer.items) == k
        and bool(np.isfinite(answer.scores).all())
        and 1 <= int(answer.items.min()) <= int(answer.items.max()) <= items
        for answer in answers
    )
