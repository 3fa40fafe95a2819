"""Learning rate schedules: constant, or one cycle."""

from __future__ import annotations

__all__ = ["LEAST_RISE", "WARM_UP", "cycle_epochs", "one_cycle"]

WARM_UP = 0.2
"""Share of the cycle in which the rate rises (warm-up)."""


LEAST_RISE = 175
"""Minimum number of updates for a rise from 0 to the full peak; a cycle whose rise has fewer has a lower peak.

A sequence encoder first learns the popularity of items. If the rate rises faster, it learns nothing else, as SASRec on
complete-journey in 17 epochs of 19 steps (docs/auto.md).
"""


def one_cycle(step: int, steps: int, updates: int = 1) -> float:
    """Learning rate factor in a step of a cycle: a linear rise from 0 to 1, and then a linear decay to 0.

    Smith and Topin, Super-Convergence, 2019; linear decay: Defazio et al., Optimal Linear Decay Learning Rate Schedules
    and Further Refinements, 2023.

    Args:
        step: number of the step, from 0. Steps after the cycle have the factor of its last step.
        steps: number of steps of the whole cycle.
        updates: number of updates of the same weights per step. If the rise has fewer than about ``LEAST_RISE`` updates
            in total, the peak is below 1.
    """
    done = (min(step, steps - 1) + 0.5) / steps
    return min(done / WARM_UP, done * steps * updates / LEAST_RISE, (1 - done) / (1 - WARM_UP))


def cycle_epochs(cycle: int | str | None, epochs: int) -> int | None:
    """Length of the cycle in epochs, from the setting and the number of training epochs; None for a constant rate."""
    return epochs if cycle == "whole" else None if cycle is None else int(cycle)
