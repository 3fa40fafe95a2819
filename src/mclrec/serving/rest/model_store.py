"""The model store: the model that answers now, and its replacement without a failed request."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mclrec.errors import MclrecError, MclrecWarning, ModelFileError
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import Runtime
from mclrec.serving.rest.batcher import Batcher
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics, log_event
from mclrec.wording import count_of

__all__ = ["Busy", "Loaded", "ModelStore", "Reload", "check_overlap", "fetch", "try_out"]


class Busy(Exception):
    """A reload is under way."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A runtime with the queue before it. A request takes one of these and stays with it."""

    runtime: Runtime
    batcher: Batcher


@dataclass(frozen=True, slots=True)
class Reload:
    """Outcome of a reload.

    Attributes:
        model: version of the model that answers now.
        before: version of the one that answered.
        engine: what computes the answers now.
        warnings: what was taken in place of something else.
    """

    model: str
    before: str
    engine: str
    warnings: list[str]


class ModelStore:
    """Holds the current model.

    Args:
        load: reads the directory anew; called in a thread.
        runtime: the first one.
        settings: sizes of batches and queues.
        metrics: are told of batches and models.
        arm: name of the model in a test of several.
    """

    def __init__(
        self,
        load: Callable[[], Runtime],
        runtime: Runtime,
        settings: Settings,
        metrics: Metrics,
        arm: str = "",
    ) -> None:
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._arm = arm
        self._lock = asyncio.Lock()
        self.current = self._queued(runtime)

    async def reload(self) -> Reload:
        """Read the directory anew, try the model out, put it in the place of the old one.

        Requests under way, and those in the queue, are answered by the old one.

        Returns:
            What answers now, and what did before.

        Raises:
            Busy: another reload is under way.
            ModelFileError: the directory holds no model that answers, or that of another catalogue; the old one stays.
        """
        if self._lock.locked():
            raise Busy
        async with self._lock:
            before = self.current
            try:
                runtime, said = await asyncio.to_thread(self._fetch, before.runtime)
            except MclrecError as problem:
                self._metrics.reloads.labels("refused").inc()
                log_event(
                    "reload refused",
                    {**self._named, "model": before.runtime.version, "reason": str(problem)},
                )
                raise
            self.current = self._queued(runtime)
            self._metrics.reloads.labels("done").inc()
            done = Reload(runtime.version, before.runtime.version, str(runtime.card.get("engine")), said)
            log_event("reloaded", {**self._named, **asdict(done)})
            return done

    @property
    def _named(self) -> dict[str, str]:
        """The name of the arm for the log, where there is a test."""
        return {"arm": self._arm} if self._arm else {}

    def _fetch(self, before: Runtime) -> tuple[Runtime, list[str]]:
        """Another runtime, and what was warned of while it was loaded."""
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", MclrecWarning)
                runtime = fetch(self._load)
            check_overlap(before, runtime, self._settings.min_overlap)
            return runtime, [str(one.message) for one in said if issubclass(one.category, MclrecWarning)]
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
            self._arm,
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


def check_overlap(before: Runtime, after: Runtime, least: float) -> None:
    """Refuse a model whose catalogue is another one: all histories would be unknown to it.

    Raises:
        ModelFileError: it shares a smaller part than ``least`` of the smaller catalogue.
    """
    small, large = sorted((before.catalogue.items, after.catalogue.items), key=len)
    shared = small.shared_with(large)
    if shared < least * len(small):
        raise ModelFileError(
            f"the model in the directory shares {shared:,} of {count_of(len(small), 'item')} with {before.version}, "
            f"which answers; if that is meant, start the service anew, or with --min-overlap 0"
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
    queries = [DenseQuery(history[:length], k, include_seen=True) for length in range(len(history) + 1)]
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
