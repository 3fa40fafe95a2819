"""Rank all test targets among the whole catalogue, and time each pass.

Request: ``data``, ``model``, ``seed``, ``cuts``, passes as in `benchmarks.child.turns`, and ``device`` if not cpu.
"""

from __future__ import annotations

import time

import torch

from benchmarks.child import Document, Request, answer, turns, versions
from benchmarks.ours.sources import open_split
from mclrec.data.datasets import known_as
from mclrec.evaluation.ranking import evaluate
from mclrec.recipes import resolve
from mclrec.runs.construction import build

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    split = open_split(request["data"])
    recipe = resolve(request["model"], known_as(split.data))
    device = torch.device(request.get("device", "cpu"))
    model = build(recipe, split.training, request["seed"]).to(device)
    seconds = []
    for _ in turns(request):
        started = time.perf_counter()
        result = evaluate(
            model, split, name=recipe.model, part="test", seen="keep", ks=request["cuts"], device=device
        )
        seconds.append(round(time.perf_counter() - started, 6))
    config = recipe.config.model_dump()
    return {
        "work": {
            "users": result.num_targets,
            "items": model.num_items,
            "cuts": list(request["cuts"]),
            **{key: config[key] for key in ("max_length", "hidden_size", "layers", "heads", "inner_size")},
        },
        "dtype": "fp32",
        "threads": torch.get_num_threads(),
        "versions": versions(["mclrec", "torch", "numpy"]),
        "metrics": result.metrics,
        "pass_seconds": seconds,
    }


if __name__ == "__main__":
    answer(measure)
