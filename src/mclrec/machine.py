"""What a run was computed on: sums are rounded differently on another processor, and training makes that visible."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["cpu_fields", "cpu_name", "processor"]


def processor(device: torch.device, root: Path = Path("/")) -> str:
    """The processor behind a device, in the words of its maker.

    Args:
        device: a GPU, or the CPU, for which the instruction set that PyTorch's kernels use is added.
        root: where ``proc`` is.
    """
    import torch  # which takes a second and 200 MB from those who only ask for a field

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name(cpu_fields(root))}, {torch.backends.cpu.get_cpu_capability()}"


def cpu_name(fields: Mapping[str, str]) -> str:
    """Name of the processor, or of its architecture where the system does not know more; ``fields`` of `cpu_fields`."""
    return fields.get("model name") or platform.processor() or platform.machine() or "unknown"


def cpu_fields(root: Path = Path("/")) -> dict[str, str]:
    """Fields of Linux's ``/proc/cpuinfo``, each as the first core has it; none where there is no such file."""
    try:
        info = (root / "proc" / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in reversed(info.splitlines()))
    return {name.strip(): value.strip() for name, colon, value in lines if colon}
