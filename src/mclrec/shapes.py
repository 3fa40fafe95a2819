"""Rounding of sizes, so that few different shapes occur: without it, hardly two packed batches have the same.

Libraries compile a kernel for each shape of a product (above all oneDNN in bf16), which takes longer than the product
itself. If sizes are rounded up to one of a few values, shapes recur and their kernels are reused.
"""

from __future__ import annotations

__all__ = ["round_up"]


def round_up(count: int, step: int) -> int:
    """The next multiple of ``step``, or of a 16th of the power of two below ``count`` if that is more."""
    step = max(step, 1 << max(count.bit_length() - 5, 0))
    return -(-count // step) * step
