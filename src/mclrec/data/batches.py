"""Batches: packed histories as tensors, and all data of one training step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mclrec.data.packed import IntArray, Packed

__all__ = ["Batch", "Histories", "target_places", "to_device"]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy on ``device``. From the host to CUDA the copy is queued behind the device's work, and nobody waits."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """B packed histories with their users, as tensors; no padding is stored.

    Attributes:
        users: (B,) dense user ids, 0 for an unknown user.
        items: (T,) all histories one after the other, oldest item first; 0 marks a hidden position.
        offsets: (B + 1,) int64, always on the host: layouts are computed from it without a device sync.
    """

    users: Tensor
    items: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, packed: Packed, users: IntArray | None = None) -> Histories:
        """Make tensors of packed arrays; users are unknown unless given."""
        ids = np.zeros(len(packed), dtype=np.int64) if users is None else users
        return cls(torch.from_numpy(ids), torch.from_numpy(packed.items), torch.from_numpy(packed.offsets))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> Histories:
        """The histories from number ``start`` up to ``stop``."""
        bounds = self.offsets[start : stop + 1]
        first, last = int(bounds[0]), int(bounds[-1])
        return Histories(self.users[start:stop], self.items[first:last], bounds - first)

    def newest(self, count: int) -> Histories:
        """The last ``count`` items of each history; all of a shorter one."""
        lengths = self.lengths
        if not len(self) or int(lengths.max()) <= count:
            return self
        kept = lengths.clamp(max=count)
        offsets = torch.nn.functional.pad(kept.cumsum(0), (1, 0))
        first = self.offsets[1:] - kept - offsets[:-1]
        places = torch.arange(int(offsets[-1])) + first.repeat_interleave(kept)
        return replace(self, items=self.items[to_device(places, self.device)], offsets=offsets)

    @property
    def device(self) -> torch.device:
        """Device of the items."""
        return self.items.device

    @property
    def lengths(self) -> Tensor:
        """(B,) number of items of each history, on the host."""
        return self.offsets.diff()

    def to(self, device: torch.device) -> Histories:
        """Copy on ``device``; offsets stay on the host."""
        if device == self.device:
            return self
        return replace(
            self,
            users=to_device(self.users, device),
            items=to_device(self.items, device),
        )

    def last_items(self) -> Tensor:
        """(B,) latest item of each history, 0 where the history is empty."""
        ends = to_device((self.offsets[1:] - 1).clamp(min=0), self.device)
        if not len(self.items):
            return torch.zeros(len(self), dtype=torch.int64, device=self.device)
        return torch.where(to_device(self.lengths > 0, self.device), self.items[ends], 0)

    def padded(self, align: Literal["left", "right"] = "left") -> tuple[Tensor, Tensor]:
        """Items as (B, L) with zeros, at the start of the row or at its end, and lengths (B,)."""
        lengths = self.lengths
        longest = int(lengths.max()) if len(self) else 0
        rows = torch.repeat_interleave(torch.arange(len(self)), lengths)
        places = torch.arange(len(self.items)) - self.offsets[rows]
        if align == "right":
            places = places + (longest - lengths)[rows]
        out = torch.zeros(len(self), longest, dtype=self.items.dtype, device=self.device)
        out[to_device(rows, self.device), to_device(places, self.device)] = self.items
        return out, to_device(lengths, self.device)

    @classmethod
    def concatenate(cls, parts: list[Histories]) -> Histories:
        """Join several batches of histories into one."""
        shifts = np.cumsum([0] + [len(part.items) for part in parts[:-1]])
        offsets = [part.offsets[1:] + int(shift) for part, shift in zip(parts, shifts, strict=True)]
        return cls(
            torch.cat([part.users for part in parts]),
            torch.cat([part.items for part in parts]),
            torch.cat([parts[0].offsets[:1], *offsets]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Data of one training step, drawn once and shared by all updates of the step.

    Attributes:
        histories: the inputs.
        targets: (B,) one target per history, or (T,) one per token.
        count: what sums of per-target losses are divided by. A constant share of the epoch's targets rather
            than this batch's own number, so that each target weighs the same wherever it lands.
        views: further versions of the inputs, for contrast.
        negatives: ids drawn beside each target, shape of ``targets`` plus any trailing dimension.
        shared: (N,) ids drawn once for all targets.
        shared_log_counts: (N,) logarithm of how often each was to be expected among them.
        targets_per_row: targets that a history of the epoch has, on average.
        places: (P,) places in the flattened ``targets`` of those that are not 0, where some are; None where all count.
    """

    histories: Histories
    targets: Tensor
    count: float
    views: tuple[Histories, ...] = ()
    negatives: Tensor | None = None
    shared: Tensor | None = None
    shared_log_counts: Tensor | None = None
    targets_per_row: float = 1.0
    places: Tensor | None = None

    def __len__(self) -> int:
        return len(self.histories)

    def part(self, rows: slice) -> Batch:
        """Part of the batch with some of its rows; ``count`` stays that of the whole, so that losses add up."""
        start, stop, _ = rows.indices(len(self))
        bounds = self.histories.offsets
        # A target a row, or one a token: where each row has one token, both are the same.
        own = rows if len(self.targets) == len(self) else slice(int(bounds[start]), int(bounds[stop]))
        targets = self.targets[own]
        return replace(
            self,
            histories=self.histories.part(start, stop),
            targets=targets,
            places=None if self.places is None else target_places(targets),
            views=tuple(view.part(start, stop) for view in self.views),
            negatives=None if self.negatives is None else self.negatives[own],
        )

    def to(self, device: torch.device) -> Batch:
        """Copy on ``device``."""
        return replace(
            self,
            histories=self.histories.to(device),
            targets=to_device(self.targets, device),
            views=tuple(view.to(device) for view in self.views),
            negatives=_moved(self.negatives, device),
            shared=_moved(self.shared, device),
            shared_log_counts=_moved(self.shared_log_counts, device),
            places=_moved(self.places, device),
        )


def target_places(targets: Tensor) -> Tensor:
    """(P,) places in the flattened ``targets`` of those that are not 0; on the host, where nobody waits for them."""
    return targets.flatten().nonzero().squeeze(1)


def _moved(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else to_device(tensor, device)
