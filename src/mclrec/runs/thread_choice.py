"""Choice of the number of threads of a training: one, unless more are clearly faster on its own first batches.

Small batches are done before a second thread has woken up, and on a shared machine threads wait for each other. The
best number is measured, which takes a moment. A resumed run keeps its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch

from mclrec.data.split import Split
from mclrec.recipes import Recipe
from mclrec.runs.construction import build
from mclrec.threads import allowed_threads, given_threads
from mclrec.training.trainer import Trainer

__all__ = ["quickest", "take_threads", "usable_threads"]

_ROUNDS = 3
_DROP_FACTOR = 4.0
"""A count whose best batch is slower than that of one thread by this factor is not tried again."""

_MARGIN = 1.2
"""Factor by which more threads must be faster than one."""

_MIDDLE_COUNT = 4
"""A count to try between one and all, if there are at least twice as many."""


def usable_threads() -> int:
    """Number of threads this process may use: the user's setting, else PyTorch's default within the system's limit."""
    own = torch.get_num_threads()
    return own if given_threads() is not None else min(own, allowed_threads())


def take_threads(split: Split, recipe: Recipe, device: torch.device, *, measure: bool) -> str:
    """Set the number of threads for a training, unless the user has set it; returns a line on it.

    Args:
        split: split of the data.
        recipe: recipe of the model.
        device: device to train on.
        measure: whether to time batches of a throwaway model; otherwise all allowed threads are used.
    """
    given, most = given_threads() is not None, usable_threads()
    torch.set_num_threads(most)
    if given or not measure or most == 1 or device.type != "cpu":
        return f"threads: {most}, {'as the environment says' if given else 'as many as are allowed'}"
    counts = _counts(most)
    count = quickest(counts, _timing(split, recipe, device))
    torch.set_num_threads(count)
    return f"threads: {count}, the fastest of {_words(counts)} on the first batches"


def quickest(counts: Sequence[int], seconds: Callable[[int], float]) -> int:
    """The number of threads with which a batch is fastest; one if no other is clearly faster.

    The counts take turns, so that other load on the machine affects all of them alike.

    Args:
        counts: numbers of threads to try; the first is one.
        seconds: trains a batch with the given number of threads and returns how long it took.
    """
    one, *more = counts
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(_ROUNDS + 1):
        for count in (one, *more):
            times[count].append(seconds(count))
        more = [count for count in more if min(times[count]) < _DROP_FACTOR * min(times[one])]
        if not more:
            return one
    typical = {count: median(times[count][1:]) for count in (one, *more)}
    best = min(more, key=lambda count: typical[count])
    return best if _MARGIN * typical[best] < typical[one] else one


def _counts(most: int) -> list[int]:
    return [1, _MIDDLE_COUNT, most] if most >= 2 * _MIDDLE_COUNT else [1, most]


def _words(counts: Sequence[int]) -> str:
    *first, last = map(str, counts)
    return f"{', '.join(first)} and {last}"


def _timing(split: Split, recipe: Recipe, device: torch.device) -> Callable[[int], float]:
    """A function that trains a batch with the given number of threads and returns its seconds."""
    model = build(recipe, split.training, 1)
    phases = model.phases()
    if not phases:
        return lambda _: 0.0
    nowhere = Path()  # nothing is written
    trainer = Trainer(model, split, recipe.training, seed=1, directory=nowhere, device=device, identity={})
    steps = trainer.timed_steps(0)
    if not next(steps):  # the number of batches; training reports that there are none
        return lambda _: 0.0

    def seconds(count: int) -> float:
        torch.set_num_threads(count)
        return next(steps)

    return seconds
