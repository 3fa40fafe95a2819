"""Check that all sides did the same work, according to what they report and not to their requests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.processes import BenchmarkError, Measurement

__all__ = ["check_initial_loss", "check_same_work", "checked"]

_TOLERANCE = (
    0.1  # of the first loss to ln(classes): initial weights are small, so that all scores are nearly equal
)


def check_same_work(runs: Mapping[str, Sequence[Measurement]]) -> dict[str, Any]:
    """Check that all sides did the same work in all rounds, and return it.

    Args:
        runs: runs by side; ``work`` in a document describes what was done, ``threads`` how many threads were used.

    Raises:
        BenchmarkError: the work differs; the message names the keys and their values.
    """
    works = {
        f"{side} (round {number})": {**run.document["work"], "threads": run.document["threads"]}
        for side, of_side in runs.items()
        for number, run in enumerate(of_side, start=1)
    }
    keys = {key for work in works.values() for key in work}
    differences = []
    for key in sorted(keys):
        values = {side: work.get(key, "not stated") for side, work in works.items()}
        if len(set(map(repr, values.values()))) > 1:
            differences.append(f"{key}: " + ", ".join(f"{side} {value}" for side, value in values.items()))
    if differences:
        raise BenchmarkError("the sides did not do the same work; " + "; ".join(differences))
    return next(iter(works.values()))


def check_initial_loss(side: str, document: Mapping[str, Any]) -> None:
    """Check that the first loss is that of a uniform guess among all classes, which shows a full softmax.

    Raises:
        BenchmarkError: it is not.
    """
    expected = math.log(document["classes"])
    if abs(document["first_loss"] - expected) > _TOLERANCE:
        raise BenchmarkError(
            f"{side}: the loss of the first batch is {document['first_loss']:.3f}, "
            f"not near ln({document['classes']}) = {expected:.3f}: it is not a full softmax over the catalogue"
        )


def checked(runs: Mapping[str, Sequence[Measurement]]) -> dict[str, Any]:
    """The work of all sides, after checking that it was the same and used a full softmax.

    Raises:
        BenchmarkError: it was not.
    """
    for side, of_side in runs.items():
        for run in of_side:
            check_initial_loss(side, run.document)
    return check_same_work(runs)
