"""Rounding of sizes, so that few different shapes occur: no two packed batches are alike.

Libraries compile a kernel for each shape of a product (oneDNN in bf16, above all), which takes longer than the product
itself. Rounded up to one of few sizes, the shape is met again, and its kernel found.
"""

from __future__ import annotations

__all__ = ["round_up"]


def round_up(count: int, step: int) -> int:
    """The next multiple of ``step``, or of a 16th of the power of two below ``count`` if that is more."""
    step = max(step, 1 << max(count.bit_length() - 5, 0))
    return -(-count // step) * step
