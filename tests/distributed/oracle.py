"""Compare our loss over sharded classes with torch's ``loss_parallel`` on a DTensor of the same scores.

Run in each process of a group.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.parallel import loss_parallel

from mclrec.distributed.group import process_group
from mclrec.distributed.processes import Processes
from mclrec.distributed.vocab_parallel import vocab_parallel_cross_entropy

CLASSES, WIDTH, ROWS = 11, 3, 7


def main(processes: Processes) -> None:
    """Fail unless both give the same loss and gradients."""
    generator = torch.Generator().manual_seed(0)
    queries, weight = (
        torch.randn(n, WIDTH, dtype=torch.float64, generator=generator) for n in (ROWS, CLASSES)
    )
    targets = torch.randint(CLASSES, (ROWS,), generator=generator)
    most = -(-CLASSES // processes.size)  # as DTensor divides rows
    first = most * processes.rank
    own, part = weight[first : first + most].clone().requires_grad_(), processes.part(ROWS)
    asked = queries[part].clone().requires_grad_()
    ours = vocab_parallel_cross_entropy(
        asked, own, None, targets[part], first=first, classes=len(own), processes=processes, chunk=2
    )
    ours.backward()

    everyone, again = queries.clone().requires_grad_(), own.detach().clone().requires_grad_()
    mesh = init_device_mesh("cpu", (processes.size,))
    scores = DTensor.from_local(
        everyone @ again.T, mesh, [Shard(1)], shape=torch.Size((ROWS, CLASSES)), stride=(CLASSES, 1)
    )
    with loss_parallel():
        theirs = F.cross_entropy(scores, targets, reduction="sum")
        theirs.backward()
    assert isinstance(theirs, DTensor)
    assert everyone.grad is not None
    dist.all_reduce(everyone.grad)
    torch.testing.assert_close(processes.all_reduce_sum(ours.detach().clone()), theirs.full_tensor().detach())
    torch.testing.assert_close(own.grad, again.grad)
    torch.testing.assert_close(asked.grad, everyone.grad[part])


if __name__ == "__main__":
    with process_group(torch.device("cpu")) as group:
        main(group)
    # The mesh keeps the group alive, and its threads occasionally outlive the interpreter:
    # "terminate called without an active exception". A failure has already raised above.
    os._exit(0)
