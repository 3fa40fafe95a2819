"""How the learning rate changes over a training: not at all, or by one cycle."""

from __future__ import annotations

__all__ = ["LEAST_RISE", "WARM_UP", "cycle_epochs", "one_cycle"]

WARM_UP = 0.2
"""Share of the cycle in which the rate rises."""


LEAST_RISE = 175
"""Updates in which the rate would rise from 0 to its peak; a cycle whose rise has fewer has a lower peak.

The first thing that a sequence encoder learns is how popular items are. By a rate that rises faster it learns nothing
else: SASRec on complete-journey in 17 epochs of 19 steps (docs/auto.md).
"""


def one_cycle(step: int, steps: int, updates: int = 1) -> float:
    """Factor of the learning rate in a step of a cycle: it rises in a line to 1, and then falls in a line to 0.

    Smith and Topin, Super-Convergence, 2019; the fall in a line is that of Defazio et al., Optimal Linear Decay
    Learning Rate Schedules and Further Refinements, 2023.

    Args:
        step: from 0. Steps after the cycle have the rate of its last one.
        steps: of the whole cycle.
        updates: of the same weights in a step. Where the rise has fewer than ``LEAST_RISE`` of them it ends below 1.
    """
    done = (min(step, steps - 1) + 0.5) / steps
    return min(done / WARM_UP, done * steps * updates / LEAST_RISE, (1 - done) / (1 - WARM_UP))


def cycle_epochs(cycle: int | str | None, epochs: int) -> int | None:
    """Epochs of the cycle of a training of some epochs; None for a constant rate."""
    return epochs if cycle == "whole" else None if cycle is None else int(cycle)
