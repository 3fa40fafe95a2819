"""Check whether a model fits into the memory of this machine before any of it is allocated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from mclrec.errors import ResourceError
from mclrec.models.base import ModelConfig, Recommender

__all__ = ["IN_TRAINING", "check_memory", "check_room"]

IN_TRAINING = 4
"""Copies of the weights that training needs: themselves, their gradient, and Adam's two moments."""

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files in which the system states the memory limit of a container."""


_SAME_SIZE = frozenset({"normal_", "uniform_", "trunc_normal_", "xavier_normal_", "xavier_uniform_", "logit"})
"""Initialisation functions whose result has the size of their argument."""


class _SkipInitialisation(TorchFunctionMode):
    """Skips the computation of initial weights, which have no values without memory.

    For some of these functions, torch would import its compiler, which takes 1.4 seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in _SAME_SIZE:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def check_memory(
    model_class: type[Recommender], config: ModelConfig, num_items: int, num_users: int, copies: int = 1
) -> None:
    """Check that a model's weights fit into memory; their size is found by building the model without memory.

    Args:
        model_class: the model.
        config: its configuration.
        num_items: V.
        num_users: U.
        copies: number of copies of the weights that are held, `IN_TRAINING` for training.

    Raises:
        ResourceError: they do not fit.
    """
    try:
        with torch.device("meta"), _SkipInitialisation():
            state = model_class(config, num_items, num_users).state_dict()
        needed = copies * sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    except RuntimeError as problem:
        if "overflow" not in str(problem):
            raise
        needed = 1 << 63  # a size that torch cannot count
    check_room(needed, f"with {num_items:,} items the weights need", model_class.memory_advice)


def check_room(needed: int, what: str, advice: str) -> None:
    """Check that a number of bytes fits into the memory of this machine.

    Args:
        needed: bytes.
        what: start of the message: what needs them, up to and including the verb.
        advice: what to do if they do not fit.

    Raises:
        ResourceError: they do not fit.
    """
    available = _memory()
    if needed > available:
        raise ResourceError(
            f"not enough memory: {what} {needed / 1e9:,.1f} GB and this machine has {available / 1e9:,.1f} GB; {advice}"
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
