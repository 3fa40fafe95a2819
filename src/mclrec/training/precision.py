"""Which precision is the quicker one on a device.

That a processor has instructions for bf16 does not make them quick. With AVX512-BF16 an AMD EPYC trains faster in bf16
(docs/performance.md), and an Intel Xeon whose AMX is hidden from a virtual machine takes 1.2 to 1.4 times as long as in
fp32. So a small step is timed in both: by the time that it has a processor, on one thread, since others may want the
cores just then, and the same seed should train alike whether they do or not.
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
_MARGIN = 1.1
"""How much quicker bf16 has to be. Processors are well on one side or the other, so the choice does not change."""


def quicker_in_bf16(device: torch.device) -> bool:
    """Whether products in bf16 are quicker than in fp32.

    On a CPU with instructions for bf16 this is measured, once a process, in some .1 s; on others they are emulated,
    which is slower.

    Args:
        device: that multiplies.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _has_bf16() and _measured_quicker()


def _has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


@cache
def _measured_quicker() -> bool:
    """Whether the best of some small steps is clearly quicker in bf16; both take turns, and the first ones warm up."""
    with kept_threads():
        torch.set_num_threads(1)
        rounds = [(step_seconds(bf16=False), step_seconds(bf16=True)) for _ in range(_ROUNDS + 1)]
    fp32, bf16 = (min(times) for times in zip(*rounds[1:], strict=True))
    return bool(fp32 > _MARGIN * bf16)


def step_seconds(*, bf16: bool) -> float:
    """Seconds of this thread that a small step takes: states times a table of items, forward and backward.

    Args:
        bf16: whether it multiplies in bf16.
    """
    with torch.inference_mode(False), torch.enable_grad():
        states, table = (torch.ones(count, _HIDDEN, requires_grad=True) for count in (_ROWS, _ITEMS))
        start = thread_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            scores = linear(states, table)
        loss = scores.float().logsumexp(dim=1).sum()
        loss.backward()
        return thread_time() - start
