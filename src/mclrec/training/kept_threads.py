"""PyTorch's number of threads belongs to the whole process: who changes it for a while gives it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["kept_threads"]


@contextmanager
def kept_threads() -> Iterator[None]:
    """Give PyTorch its number of threads back at the end of the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
