"""Batches: packed or padded histories as tensors, and all data of one training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from mclrec.data.packed import IntArray, Packed

__all__ = ["Batch", "Histories", "PaddedHistories", "target_places", "to_device"]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to ``device``. From the host to CUDA, the copy is queued behind the device's work without blocking."""
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
        """Convert packed arrays to tensors; users are unknown unless given."""
        ids = np.zeros(len(packed), dtype=np.int64) if users is None else users
        return cls(torch.from_numpy(ids), torch.from_numpy(packed.items), torch.from_numpy(packed.offsets))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> Histories:
        """Histories ``start`` up to, but not including, ``stop``."""
        bounds = self.offsets[start : stop + 1]
        first, last = int(bounds[0]), int(bounds[-1])
        return Histories(self.users[start:stop], self.items[first:last], bounds - first)

    def newest(self, count: int) -> Histories:
        """The last ``count`` items of each history, or all items of a shorter one."""
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
        """Copy to ``device``; offsets stay on the host."""
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

    def padded(
        self, align: Literal["left", "right"] = "left", width: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Items as (B, L), padded with zeros, and lengths (B,).

        Args:
            align: side of the row on which the items are.
            width: L; the greatest length unless given.
        """
        lengths = self.lengths
        longest = width or (int(lengths.max()) if len(self) else 0)
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
class PaddedHistories:
    """B histories with their users in tensors of a fixed shape, whatever their lengths; nothing stays on the host.

    Attributes:
        users: (B,) dense user ids, 0 for an unknown user.
        items: (B, n) oldest item first, zeros after the end; a 0 before the end marks a hidden position.
        lengths: (B,) number of items, at least 1; on the same device as the items.
    """

    users: Tensor
    items: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, histories: Histories, width: int) -> PaddedHistories:
        """Pad histories, none of them empty and none longer than ``width``."""
        return cls(histories.users, *histories.padded(width=width))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def device(self) -> torch.device:
        """Device of the items."""
        return self.items.device

    def to(self, device: torch.device) -> PaddedHistories:
        """Copy to ``device``."""
        return self.each(partial(to_device, device=device))

    def each(self, change: Callable[[Tensor], Tensor]) -> PaddedHistories:
        """Apply ``change`` to each tensor."""
        return PaddedHistories(change(self.users), change(self.items), change(self.lengths))

    @classmethod
    def concatenate(cls, parts: list[PaddedHistories]) -> PaddedHistories:
        """Join several batches of histories of the same width into one."""
        return cls(
            torch.cat([part.users for part in parts]),
            torch.cat([part.items for part in parts]),
            torch.cat([part.lengths for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Data of one training step, drawn once and shared by all updates of the step.

    Attributes:
        histories: the inputs; `PaddedHistories` if requested, in a phase that accepts both (`Phase.varies`).
        targets: (B,) one target per history, or (T,) one per token.
        count: divisor of the sums of per-target losses. A constant share of the epoch's targets rather than this
            batch's own number, so that each target has the same weight whichever batch it is in.
        views: further versions of the inputs, for contrastive losses.
        negatives: ids drawn for each target, shape of ``targets`` plus any trailing dimension.
        shared: (N,) ids drawn once for all targets.
        shared_log_counts: (N,) logarithm of the expected number of times that each is drawn.
        targets_per_row: mean number of targets per history in the epoch.
        places: (P,) indices of the nonzero entries of the flattened ``targets``; None if all targets count.
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
        """Some rows of the batch; ``count`` stays that of the whole batch, so that losses add up."""
        start, stop, _ = rows.indices(len(self))
        bounds = self.histories.offsets
        # One target per row, or one per token: these are the same if each row has one token.
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
        """Copy to ``device``."""
        move = partial(to_device, device=device)
        return replace(
            self,
            histories=self.histories.to(device),
            views=tuple(view.to(device) for view in self.views),
            **self._rest(move),
        )

    def padded(self, width: int) -> Batch:
        """The batch with `PaddedHistories` of ``width``, for losses that accept both."""
        pad = partial(PaddedHistories.of, width=width)
        return self._of(pad(self.histories), tuple(map(pad, self.views)))

    def tensors(self) -> list[Tensor]:
        """All tensors of a padded batch, in an order that is the same for all batches of a phase."""
        found: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.each(note)
        return found

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply ``change`` to each tensor of a padded batch."""
        histories, *views = (part.each(change) for part in self._padded_parts())
        return replace(self._of(histories, tuple(views)), **self._rest(change))

    def _padded_parts(self) -> list[PaddedHistories]:
        return cast("list[PaddedHistories]", [self.histories, *self.views])

    def _of(self, histories: PaddedHistories, views: tuple[PaddedHistories, ...]) -> Batch:
        """The batch with padded histories, cast because the fields have the type that nearly all losses read."""
        return replace(
            self, histories=cast("Histories", histories), views=cast("tuple[Histories, ...]", views)
        )

    def _rest(self, change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Apply ``change`` to the tensors other than histories and views."""
        names = ("targets", "negatives", "shared", "shared_log_counts", "places")
        there = {name: getattr(self, name) for name in names}
        return {name: change(tensor) for name, tensor in there.items() if tensor is not None}


def target_places(targets: Tensor) -> Tensor:
    """(P,) indices of the nonzero entries of the flattened ``targets``; on the host, where this needs no sync."""
    return targets.flatten().nonzero().squeeze(1)
