"""What a run was computed on: sums are rounded differently on another processor, and training makes that visible."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["cpu_field", "processor"]


def processor(device: torch.device, root: Path = Path("/")) -> str:
    """The processor behind a device, in the words of its maker.

    Args:
        device: a GPU, or the CPU, for which the instruction set that PyTorch's kernels use is added.
        root: where ``proc`` is.
    """
    import torch  # which takes a second and 200 MB from those who only ask for a field

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = cpu_field("model name", root) or platform.processor() or platform.machine() or "unknown"
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def cpu_field(name: str, root: Path = Path("/")) -> str:
    """A field of Linux's ``/proc/cpuinfo``, as the first core has it; empty where there is none."""
    try:
        info = (root / "proc" / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*)$", info, re.MULTILINE)
    return found[1].strip() if found else ""
