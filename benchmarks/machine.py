"""Description of the machine that measurements run on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

from mclrec.machine import cpu_fields, cpu_name

__all__ = ["available_cores", "describe_machine", "first_cores", "native_bf16"]

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "sve", "bf16")
"""Instruction sets that decide how fast a model trains."""


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def first_cores(count: int) -> tuple[int, ...] | None:
    """The first cores that this process may use, the same for all measured processes; None without CPU affinity."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0))[:count])
    return None


def describe_machine() -> dict[str, Any]:
    """Processor, cores, instruction sets, memory and system."""
    fields = cpu_fields()
    return {
        "processor": cpu_name(fields),
        "family": " ".join(filter(None, (fields.get("cpu family"), fields.get("model")))),
        "cores": os.cpu_count(),
        "available_cores": available_cores(),
        "instruction_sets": _instruction_sets(fields),
        "memory_gib": round(_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def native_bf16() -> bool:
    """Whether the processor has instructions for bf16; otherwise it is emulated."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(_instruction_sets(cpu_fields())))


def _instruction_sets(fields: Mapping[str, str]) -> list[str]:
    present = set((fields.get("flags") or fields.get("Features", "")).split())
    return [flag for flag in _FLAGS if flag in present]


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
