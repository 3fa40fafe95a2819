"""CUDA graphs of training steps with constant shapes: recorded once, then replayed with a single launch from the host.

A graph records the kernels that a function launches, together with all their addresses and host-side values. Therefore
each batch is copied to the addresses of the first one, learning rates are tensors on the device, and random numbers
come from the device's generator, whose seed is read again at each replay. `Phase.varies` says whether shapes are
constant.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from mclrec.data.batches import Batch
from mclrec.errors import MclrecWarning
from mclrec.training.config import TrainingConfig
from mclrec.training.steps import Means, Steps, Trained

__all__ = ["CudaGraphs", "GraphedSteps", "Recorder", "make_steps", "reason_against"]

WARM_UP = 3
"""Batches to train on before a step is recorded, so that kernels are selected and one-time allocations are done."""


class Recorder(Protocol):
    """Interface of recorders of the work that functions launch on a device."""

    def warm(self, work: Callable[[], None]) -> None:
        """Run ``work`` once under the conditions in which it will be recorded."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record ``work`` without executing it.

        Returns:
            A function that replays the recording, at the same addresses.
        """

    def close(self) -> None:
        """Discard all recordings, and free their memory."""


class CudaGraphs:
    """Records CUDA graphs that share one memory pool, and must therefore be replayed in the order of their recording.

    Args:
        device: the CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def warm(self, work: Callable[[], None]) -> None:
        """Run ``work`` on the recording stream, so that objects that remember their stream remember this one."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()
        current.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record ``work``; implements `Recorder.record`."""
        graph = torch.cuda.CUDAGraph()
        pool = self._graphs[0].pool() if self._graphs else None
        # Meanwhile the thread that prepares the next batch allocates pinned memory and copies from it.
        with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        self._graphs.append(graph)
        return graph.replay

    def close(self) -> None:
        """Discard the graphs; implements `Recorder.close`."""
        if self._graphs:
            torch.cuda.synchronize(self._device)
        for graph in self._graphs:
            graph.reset()
        self._graphs.clear()


class GraphedSteps(Steps):
    """Steps that are recorded after a few batches, and replayed from then on.

    Only full batches are recorded: the smaller one at the end of an epoch is computed eagerly.

    Args:
        trained: the phase, and the objects that its steps need.
        width: length to which histories are padded.
        rows: number of rows of a full batch.
        recorder: records the work of a step.
    """

    warm_up = WARM_UP + 1  # including the batch that is recorded

    def __init__(self, trained: Trained, width: int, rows: int, recorder: Recorder) -> None:
        super().__init__(trained)
        self.width = width
        self._rows, self._recorder = rows, recorder
        self._fixed: Batch | None = None  # the batch at the addresses that the graphs read
        self._tensors: list[Tensor] = []
        self._warm = 0
        self._replays: dict[int, Callable[[], None]] = {}
        self._written: dict[int, Means] = {}  # the means at the addresses that the graphs write

    def run(
        self, batch: Batch, size: int, key: tuple[int, ...], finished: Callable[[dict[str, float]], None]
    ) -> None:
        """Run the updates of one batch; overrides `Steps.run`."""
        super().run(self._placed(batch), size, key, finished)

    def close(self) -> None:
        """Discard graphs and fixed tensors; overrides `Steps.close`."""
        self._replays.clear()
        self._written.clear()
        self._fixed = None
        self._tensors.clear()
        self._recorder.close()

    def _placed(self, batch: Batch) -> Batch:
        """Copy a batch to the fixed addresses, if it is a full one that fits; otherwise return it as it is."""
        if len(batch) != self._rows:
            return batch
        if self._fixed is None:
            self._fixed = batch.each(Tensor.clone)
            self._tensors = self._fixed.tensors()
        elif self._fits(batch, self._fixed):
            torch._foreach_copy_(self._tensors, batch.tensors())
        else:
            return batch
        self._warm += not self._replays
        return self._fixed

    def _fits(self, batch: Batch, fixed: Batch) -> bool:
        """Whether a batch differs from the recorded one only in the values of its tensors."""
        constants = (batch.count, batch.targets_per_row) == (fixed.count, fixed.targets_per_row)
        sizes = [(tensor.shape, tensor.dtype) for tensor in batch.tensors()]
        return constants and sizes == [(tensor.shape, tensor.dtype) for tensor in self._tensors]

    def _update(self, number: int, batch: Batch, size: int, report: Callable[[Means], None]) -> None:
        """Run an update: eagerly for the first batches and those at other addresses, else recorded and replayed."""
        if batch is not self._fixed:
            self._compute(number, batch, size, report)
        elif self._warm <= WARM_UP:
            self._recorder.warm(lambda: self._compute(number, batch, size, report))
        else:
            if number not in self._replays:
                self._replays[number] = self._recorder.record(
                    lambda: self._compute(number, batch, size, lambda means: self._keep(number, means))
                )
            self._replays[number]()
            means = self._written[number]
            report(Means(means.names, means.values.clone()))  # the next replay overwrites them

    def _keep(self, number: int, means: Means) -> None:
        self._written[number] = means


def reason_against(trained: Trained) -> str:
    """Why the steps of a phase cannot be recorded; empty if they can."""
    if trained.processes.size > 1:
        return "several processes exchange rows and gradients"
    return trained.phase.varies


def make_steps(trained: Trained, config: TrainingConfig, examples: int) -> Steps:
    """Make the steps of a phase as configured; warn if ``graphs`` is set but they cannot be recorded.

    Args:
        trained: the phase, and the objects that its steps need.
        config: training settings.
        examples: number of the phase's training examples.
    """
    if not config.graphs:
        return Steps(trained)
    if reason := reason_against(trained):
        name = type(trained.model).__name__
        warnings.warn(
            f"graphs = true has no effect on {name} in phase {trained.phase.name!r}: {reason}",
            MclrecWarning,
            stacklevel=2,
        )
        return Steps(trained)
    rows = min(config.batch_size, examples)
    return GraphedSteps(trained, trained.model.max_length, rows, CudaGraphs(trained.device))
