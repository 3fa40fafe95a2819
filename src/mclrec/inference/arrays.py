"""Arrays of an export, mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mclrec.errors import ModelFileError

__all__ = ["mapped"]


def mapped(path: Path) -> npt.NDArray[Any]:
    """Memory-map a ``.npy`` file; processes that serve the same export share it.

    Raises:
        ModelFileError: it is damaged.
    """
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as problem:
        raise ModelFileError(f"{path}: damaged: {problem}") from None
