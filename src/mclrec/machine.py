"""The processor that a run was computed on: others round sums differently, and training amplifies the difference."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["cpu_fields", "cpu_name", "processor"]


def processor(device: torch.device, root: Path = Path("/")) -> str:
    """Name of the processor behind a device, as its maker calls it.

    Args:
        device: a GPU, or the CPU, for which the instruction set that PyTorch's kernels use is added.
        root: folder that contains ``proc``.
    """
    import torch  # here, as it would cost callers who only read CPU fields a second and 200 MB

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name(cpu_fields(root))}, {torch.backends.cpu.get_cpu_capability()}"


def cpu_name(fields: Mapping[str, str]) -> str:
    """Name of the processor from the fields of `cpu_fields`, or of its architecture if the system knows no more."""
    return fields.get("model name") or platform.processor() or platform.machine() or "unknown"


def cpu_fields(root: Path = Path("/")) -> dict[str, str]:
    """Fields of Linux's ``/proc/cpuinfo`` for the first core that has each; empty if the file does not exist."""
    try:
        info = (root / "proc" / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in reversed(info.splitlines()))
    return {name.strip(): value.strip() for name, colon, value in lines if colon}
