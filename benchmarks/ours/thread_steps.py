"""Time a training step with one thread and with more, in turns, and record what our rule chooses.

The rule is that of `mclrec.runs.thread_choice`. It runs in the environment of the command line, which sets how threads
wait (`mclrec.threads.prepare_environment`).

Request: ``data``, ``model``, ``recipe``, ``settings``, ``seed``, ``counts`` (numbers of threads, in addition to those
that the rule chooses), ``rounds``, ``steps`` (timed steps of each count in a round, after an untimed one), ``choices``
(how often the rule is asked).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.child import Document, Request, answer, versions
from benchmarks.ours.sources import open_split
from mclrec.data.datasets import known_as
from mclrec.data.split import Split
from mclrec.recipes import Recipe, resolve
from mclrec.runs.construction import build
from mclrec.runs.thread_choice import take_threads
from mclrec.training.kept_threads import kept_threads
from mclrec.training.trainer import Trainer

__all__ = ["measure"]

_CPU = torch.device("cpu")


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    split = open_split(request["data"])
    recipe = resolve(request["model"], known_as(split.data), request.get("recipe"), request["settings"])
    load = os.getloadavg()[0]
    chosen = [_choice(split, recipe) for _ in range(request["choices"])]
    counts = sorted({*request["counts"], *chosen})
    with kept_threads():
        seconds = _seconds(_steps(split, recipe, request["seed"]), counts, request)
    return {
        "settings": {
            "model": recipe.model,
            "recipe": recipe.section,
            **recipe.training.model_dump(mode="json"),
        },
        "chosen": chosen,
        "step_seconds": {str(count): values for count, values in seconds.items()},
        "load": round(load, 2),
        "versions": versions(["mclrec", "torch"]),
    }


def _choice(split: Split, recipe: Recipe) -> int:
    """The number of threads that the rule chooses, from a new measurement."""
    with kept_threads():
        take_threads(split, recipe, _CPU, measure=True)
        return torch.get_num_threads()


def _steps(split: Split, recipe: Recipe, seed: int) -> Iterator[float]:
    """Train batch by batch, and yield the seconds of each."""
    model = build(recipe, split.training, seed)
    trainer = Trainer(
        model,
        split,
        recipe.training,
        seed=seed,
        directory=Path(),
        device=_CPU,
        identity={},  # nothing is written
    )
    steps = trainer.timed_steps(0)
    next(steps)  # the first value is the number of batches
    return steps


def _seconds(steps: Iterator[float], counts: Sequence[int], request: Request) -> dict[int, list[float]]:
    """Mean seconds of a step in each round, by number of threads."""
    found: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(request["rounds"]):
        for count, means in found.items():
            torch.set_num_threads(count)
            next(steps)  # not timed: threads start
            means.append(round(fmean(next(steps) for _ in range(request["steps"])), 6))
    return found


if __name__ == "__main__":
    answer(measure)
