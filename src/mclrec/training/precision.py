"""Choice of the precision on a device: bf16 where it is much faster, or fp32.

A CPU may have bf16 instructions that are not faster. With AVX512-BF16 an AMD EPYC trains faster in bf16
(docs/performance.md), but an Intel Xeon whose AMX is hidden from a virtual machine takes 1.2 to 1.4 times as long as in
fp32, and one that has AMX hardly less. Therefore a small step is timed in both precisions. CPU time on one thread is
measured, since the load of other processes on the cores must not affect the choice, and bf16 has to be much faster:
the same seed should train in the same precision.
"""

from __future__ import annotations

from functools import cache
from time import thread_time

import torch
from torch.nn.functional import linear

from mclrec.training.kept_threads import kept_threads

__all__ = ["quicker_in_bf16", "step_seconds"]

_ROWS, _HIDDEN, _ITEMS = 512, 64, 2048
_ROUNDS = 5
_MARGIN = 1.5
"""Minimum speedup of bf16.

It is 2 on an AMD EPYC; on Intel Xeons it was below 1 in one virtual machine and 1.0 to 1.4, from run to run, in
another. The products are only a part of a training, which would gain little from less, while two runs with one seed
would differ.
"""


def quicker_in_bf16(device: torch.device) -> bool:
    """Whether matrix products are much faster in bf16 than in fp32.

    On a CPU with bf16 instructions this is measured once per process, in about .1 s; other CPUs emulate bf16, which is
    slower. A CUDA device is expected to be faster in bf16 if it supports it natively.

    Args:
        device: the device to train on.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _has_bf16() and _measured_quicker()


def _has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


@cache
def _measured_quicker() -> bool:
    """Whether the fastest of several small steps is much faster in bf16; precisions alternate after a warm-up."""
    with kept_threads():
        torch.set_num_threads(1)
        rounds = [(step_seconds(bf16=False), step_seconds(bf16=True)) for _ in range(_ROUNDS + 1)]
    fp32, bf16 = (min(times) for times in zip(*rounds[1:], strict=True))
    return bool(fp32 > _MARGIN * bf16)


def step_seconds(*, bf16: bool) -> float:
    """CPU time in seconds of a small step on this thread: states times an item table, forward and backward.

    Args:
        bf16: whether to multiply in bf16.
    """
    with torch.inference_mode(False), torch.enable_grad():
        states, table = (torch.ones(count, _HIDDEN, requires_grad=True) for count in (_ROWS, _ITEMS))
        start = thread_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            scores = linear(states, table)
        loss = scores.float().logsumexp(dim=1).sum()
        loss.backward()
        return thread_time() - start
