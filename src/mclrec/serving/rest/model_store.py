"""The model store: holds the current model, and replaces it without a failed request."""

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
    """Another reload is in progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A runtime with the queue in front of it. A request takes one of these and keeps it to the end."""

    runtime: Runtime
    batcher: Batcher


@dataclass(frozen=True, slots=True)
class Reload:
    """Outcome of a reload.

    Attributes:
        model: version of the new model.
        before: version of the previous model.
        engine: engine of the new model.
        warnings: warnings raised while loading, such as about substitutes.
    """

    model: str
    before: str
    engine: str
    warnings: list[str]


class ModelStore:
    """Holds the current model.

    Args:
        load: loads the model from its directory; called in a thread.
        runtime: the first model.
        settings: sizes of batches and queues.
        metrics: metrics that record batches and models.
        arm: name of the arm in an A/B test.
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
        """Load the model from its directory, try it out, and replace the current one.

        Requests in progress and in the queue are answered by the old model.

        Returns:
            The versions of the new and the previous model.

        Raises:
            Busy: another reload is in progress.
            ModelFileError: the directory holds no working model, or one with another catalogue; the old model stays.
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
        """Log field with the name of the arm; empty if there is no test."""
        return {"arm": self._arm} if self._arm else {}

    def _fetch(self, before: Runtime) -> tuple[Runtime, list[str]]:
        """Load the new runtime; return it with the warnings raised while loading."""
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", MclrecWarning)
                runtime = fetch(self._load)
            check_overlap(before, runtime, self._settings.min_overlap)
            return runtime, [str(one.message) for one in said if issubclass(one.category, MclrecWarning)]
        except MclrecError:
            raise
        except Exception as problem:
            # Whatever is wrong with the new files, the old model stays in service.
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
    """Refuse a model with a different catalogue, to which the items of all histories would be unknown.

    Raises:
        ModelFileError: the catalogues share less than ``least`` of the smaller one.
    """
    small, large = sorted((before.catalogue.items, after.catalogue.items), key=len)
    shared = small.shared_with(large)
    if shared < least * len(small):
        raise ModelFileError(
            f"the model in the directory shares {shared:,} of {count_of(len(small), 'item')} with {before.version}, "
            f"which is in service; if that is intended, restart the service, or use --min-overlap 0"
        )


def fetch(load: Callable[[], Runtime]) -> Runtime:
    """Load a runtime and try it out.

    The loaded objects are then exempt from garbage collection, as traversing all of them would pause every request.
    They are still freed when nothing refers to them any more.

    Raises:
        MclrecError: the model cannot be loaded, or its answers make no sense.
    """
    runtime = load()
    try_out(runtime)
    gc.collect()
    gc.freeze()
    return runtime


def try_out(runtime: Runtime) -> None:
    """Query a model with histories of several lengths, including an empty one, which also warms it up.

    Raises:
        ModelFileError: the answers make no sense.
    """
    runtime.catalogue.prepare()
    items = runtime.engine.num_items
    history = np.unique(np.linspace(1, items, num=min(items, 5), dtype=np.int64))
    k = min(items, 10)
    queries = [DenseQuery(history[:length], k, include_seen=True) for length in range(len(history) + 1)]
    answers = runtime.engine.answer(queries)
    if not _plausible(answers, len(queries), k, items) or len(runtime.catalogue) != items:
        raise ModelFileError("the model loads, but its answers make no sense; train or export it again")


def _plausible(answers: Sequence[Ranked], number: int, k: int, items: int) -> bool:
    return len(answers) == number and all(
        len(answer.items) == k
        and bool(np.isfinite(answer.scores).all())
        and 1 <= int(answer.items.min()) <= int(answer.items.max()) <= items
        for answer in answers
    )
