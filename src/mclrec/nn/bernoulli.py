"""Dropout whose rates are learnt, by the ARM gradient (Yin and Zhou, ICLR 2019; Boluki et al., AISTATS 2020)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mclrec.nn.dropout import Seeded

__all__ = ["LearnableBernoulli", "arm_surrogate"]


class LearnableBernoulli(Seeded):
    """Masks with one bit a unit, each with a probability of its own.

    Args:
        hidden_size: d.
        keep: probability with which each unit is kept at first.
    """

    for_batch = True

    def __init__(self, hidden_size: int, keep: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((hidden_size,), keep).logit())

    def uniforms(self, count: int) -> Tensor:
        """(count, d) numbers between 0 and 1 that decide about as many masks."""
        rng = self.generator or np.random.default_rng()
        return torch.from_numpy(rng.random((count, len(self.logits)))).to(self.logits)

    def masks(self, uniforms: Tensor) -> Tensor:
        """(count, d) of 0 and 1: 1 where the number is below the unit's probability. No gradient comes back."""
        return (uniforms < self.logits.detach().sigmoid()).to(uniforms)

    def opposite_masks(self, uniforms: Tensor) -> Tensor:
        """(count, d) the antithetic masks: those of 1 - uniforms, alike in distribution."""
        return (uniforms > (-self.logits.detach()).sigmoid()).to(uniforms)


def arm_surrogate(of_masks: Tensor, of_opposite: Tensor, uniforms: Tensor, logits: Tensor) -> Tensor:
    """Scalar that is the mean of two losses, and whose gradient is an unbiased one of the expected loss.

    The gradient for logit k is ``sum over masks of (f(opposite) - f(masks)) (u_k - 1 / 2)``.

    Args:
        of_masks: scalar loss under `LearnableBernoulli.masks` of ``uniforms``.
        of_opposite: scalar loss under the opposite ones.
        uniforms: (count, d).
        logits: (d,).
    """
    gradients = ((of_opposite - of_masks) * (uniforms - 0.5)).sum(0).detach()
    value = (of_masks + of_opposite).detach() / 2
    return value + (gradients * (logits - logits.detach())).sum()
