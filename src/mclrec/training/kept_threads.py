"""Restoring PyTorch's number of threads, which is a setting of the whole process, after a temporary change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["kept_threads"]


@contextmanager
def kept_threads() -> Iterator[None]:
    """Restore PyTorch's number of threads at the end of the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
