"""Whether a model fits into the memory of this machine, before any of it is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from mclrec.errors import ResourceError
from mclrec.models.base import ModelConfig, Recommender

__all__ = ["IN_TRAINING", "check_memory"]

IN_TRAINING = 4
"""Copies of the weights that training needs: themselves, their gradient, and Adam's two moments."""

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where the system says how much a container may use."""


def check_memory(
    model_class: type[Recommender], config: ModelConfig, num_items: int, num_users: int, copies: int = 1
) -> None:
    """Check that a model's weights fit into memory; building it without memory tells their size.

    Args:
        model_class: the model.
        config: its configuration.
        num_items: V.
        num_users: number of users.
        copies: how often the weights are there, `IN_TRAINING` for training.

    Raises:
        ResourceError: they do not fit.
    """
    try:
        with torch.device("meta"):
            state = model_class(config, num_items, num_users).state_dict()
        needed = copies * sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    except RuntimeError as problem:
        if "overflow" not in str(problem):
            raise
        needed = 1 << 63  # a size that torch cannot count
    available = _memory()
    if needed > available:
        raise ResourceError(
            f"not enough memory: with {num_items:,} items the weights need {needed / 1e9:,.1f} GB and this machine has "
            f"{available / 1e9:,.1f} GB; make hidden_size, inner_size, layers or max_length smaller"
        )


def _memory() -> int:
    """Bytes of memory that this process may use at most."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return min(found)
