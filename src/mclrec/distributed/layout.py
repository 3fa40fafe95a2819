"""Parameter layout: which tensors are replicated and which sharded by rows, for checkpoints and optimisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.distributed.shards import Shard

__all__ = ["WHOLE", "ParameterLayout"]


@dataclass(frozen=True, slots=True, eq=False)
class ParameterLayout:
    """How the tensors of a model are distributed among the processes that train it. In one process, all are whole.

    A tensor is identified by its name, or by a path (``adam/all/NAME/exp_avg``) that contains the name.

    Attributes:
        processes: the processes that train.
        shard: the rows of this process, if some tensors are sharded.
        by_rows: names of the sharded tensors, if any are.
    """

    processes: Processes = SINGLE_PROCESS
    shard: Shard | None = None
    by_rows: Sequence[str] = ()

    def is_whole(self, name: str) -> bool:
        """Whether every process holds the whole tensor."""
        return self._shard_of(name) is None

    def shape(self, name: str, tensor: Tensor) -> tuple[int, ...]:
        """Shape of a tensor with the rows of all processes. All processes must call this."""
        shard = self._shard_of(name) if tensor.dim() else None
        if shard is None:
            return tuple(tensor.shape)
        rows = int(shard.processes.all_reduce_sum(torch.tensor(len(tensor))))
        return (rows, *tensor.shape[1:])

    def rows(self, name: str, count: int) -> slice:
        """Which of the ``count`` rows of a tensor this process holds."""
        shard = self._shard_of(name)
        if shard is None:
            return slice(0, count)
        start = min(shard.first, count)
        return slice(start, start + shard.count(count))

    def chunks(self, name: str, tensor: Tensor, count: int) -> Iterator[Tensor]:
        """Yield the rows of all processes in order, in chunks on the CPU; sharded rows only to the main process.

        Args:
            name: name of the tensor.
            tensor: the rows of this process.
            count: number of rows of all processes together.
        """
        shard = self._shard_of(name) if tensor.dim() else None
        if shard is None:
            return SINGLE_PROCESS.gather_chunks(tensor.contiguous().view(-1), [tensor.numel()])
        return shard.processes.gather_chunks(tensor, shard.counts(count))

    def all_reduce_gradients(self, parameters: Mapping[str, Tensor]) -> None:
        """Sum the gradients of whole parameters over the processes; those of sharded rows are complete already."""
        if self.processes.size > 1:
            whole = [parameter for name, parameter in parameters.items() if self.is_whole(name)]
            self.processes.all_reduce_gradients(whole)

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite whole tensors with the main process's."""
        self.processes.broadcast(tensor for name, tensor in tensors.items() if self.is_whole(name))

    def _shard_of(self, name: str) -> Shard | None:
        if self.shard is None or self.shard.whole:
            return None
        return self.shard if not set(self.by_rows).isdisjoint(name.split("/")) else None


WHOLE = ParameterLayout()
"""The layout of a model in a single process."""
