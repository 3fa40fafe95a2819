"""Joining the other processes of a run, as torchrun or ``mclrec train --processes`` started them, and noticing when one
of them is gone.

A process that is killed closes its connections, and whoever talks to it fails at once. That says nothing of a machine
that lost its network, of a process that hangs, or of a GPU that waits. So each process also counts aloud, and ends
when it has not heard another one counting for `SILENCE` seconds.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module

import torch
import torch.distributed as dist

from mclrec.errors import LOST_STATUS
from mclrec.processes import SINGLE_PROCESS, Processes, ProcessGroup, lost

__all__ = ["SILENCE", "process_group"]

SILENCE = 20.0
"""Seconds after which a process that is not heard of counts as lost."""

_BEAT = 2.0
_LONGEST_STEP = timedelta(minutes=30)
"""Others may be busy for so long, with a file, say, while a process waits for them."""


@contextmanager
def process_group(device: torch.device, environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """Be one of the processes that the environment tells of, by torchrun's variables; or alone without them.

    Args:
        device: of the training; each process takes the GPU of its number on its machine.
        environment: where the variables are.

    Raises:
        LostProcessError: the others do not come.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", "0")))
    # The optimisers import it in any case. Imported when there is a group already, it keeps that group alive for ever,
    # whose threads then run into the end of the interpreter: "terminate called without an active exception".
    import_module("torch._dynamo")
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with lost():
        dist.init_process_group(backend, timeout=_LONGEST_STEP)
    group = ProcessGroup()
    watch = _Watch(group)
    try:
        group.barrier()
        yield group
        watch.stop()
        group.barrier()  # the main process may keep what the others are watched by
    finally:
        watch.stop()
        dist.destroy_process_group()  # closes the connections, so that whoever waits for this process fails


class _Watch:
    """Counts aloud, and listens to the others counting.

    What counts is how often this process has looked, not how late it is: a run that was put to sleep as a whole
    (Ctrl-Z, a laptop's lid) wakes up whole.
    """

    def __init__(self, group: ProcessGroup, leave: Callable[[int], None] = os._exit) -> None:
        self._group, self._leave = group, leave
        # A store of its own: requests of the default one wait for each other.
        self._store = dist.distributed_c10d._get_default_store().clone()  # type: ignore[attr-defined] # not in its stub
        self._keys = [f"mclrec/alive/{rank}" for rank in range(group.size)]
        self._store.set(self._keys[group.rank], "0")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        # However this process ends: Python aborts ("terminate called without an active exception") if it ends while a
        # thread is in a call of the store.
        atexit.register(self.stop)
        self._thread.start()

    def stop(self) -> None:
        """No longer mind."""
        self._over.set()
        self._thread.join()
        atexit.unregister(self.stop)

    def _run(self) -> None:
        heard, silent, beat = [b""] * self._group.size, [0] * self._group.size, 0
        while not self._over.wait(_BEAT):
            beat += 1
            try:
                self._store.set(self._keys[self._group.rank], str(beat))
                counts = self._store.multi_get(self._keys)
            except RuntimeError:  # of torch.distributed: whoever keeps the store has ended
                counts = heard
            silent = [
                number + 1 if new == old else 0
                for number, new, old in zip(silent, counts, heard, strict=True)
            ]
            heard = list(counts)
            if max(silent) * _BEAT >= SILENCE and not self._over.is_set():
                self._give_up(silent.index(max(silent)))

    def _give_up(self, rank: int) -> None:
        sys.stderr.write(
            f"error: process {rank} of {self._group.size} has not been heard of for {SILENCE:.0f} seconds, so process "
            f"{self._group.rank} ends too: see what it said, and go on with --resume\n"
        )
        sys.stderr.flush()
        self._leave(LOST_STATUS)
