"""Repeated exact ranking of the same targets, for the calibration of what is added to scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mclrec.data.batches import to_device
from mclrec.data.packed import IntArray
from mclrec.data.split import Targets
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import asked, by_length, inference, rank_targets, rows_per_chunk
from mclrec.models.base import Recommender, VectorRecommender
from mclrec.models.item_table import exclude
from mclrec.nn.calibrated import Calibrated

__all__ = ["Reranker", "ranker"]

_MOST = 1000
"""Largest cutoff for which scores are cached: each target needs that many of them."""

_BATCH = 1024
"""Targets that are ranked at once."""

_KEPT_BYTES = 2**29
"""Memory for cached scores; those that do not fit are recomputed each time."""


def ranker(
    model: Recommender,
    targets: Targets,
    part: Calibrated[Any],
    *,
    seen: Seen,
    cut: int,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> Callable[[], IntArray]:
    """Make a function that ranks the targets each time it is called; only the choice of ``part`` may change in between.

    Args:
        model: a trained model.
        targets: M targets.
        part: the calibrated part of the model.
        seen: see `rank_targets`.
        cut: cutoff of the metric; ranks beyond it may be `MISS`.
        device: the model's device.
        processes: all call the function together; each ranks a part of the targets and receives all ranks.
    """
    if isinstance(model, VectorRecommender) and model.shard.whole and cut <= _MOST:
        return Reranker(model, targets, part, seen=seen, cut=cut, device=device, processes=processes).ranks
    return partial(rank_targets, model, targets, seen=seen, device=device, processes=processes)


class _Lists(NamedTuple):
    """Cached scores for the histories of B targets, without the addition of the calibrated part.

    Attributes:
        own: (B,) scores of the targets; -inf if a target is no candidate.
        own_features: (B, F) features of the targets, which `Calibrated.coefficients` weight.
        best: (B, min(cut, V + 1)) highest scores of the other items to which nothing is added, whatever is chosen.
        counts: (B,) number of other items to which something may be added, without those that can never matter.
        scores: (E,) scores of these items, one target after the other.
        features: (E, F) features of these items.
    """

    own: Tensor
    own_features: Tensor
    best: Tensor
    counts: Tensor
    scores: Tensor
    features: Tensor

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(each.nbytes for each in self)


class Reranker:
    """Ranks within a cutoff, computed from the cached scores of those items that can affect them.

    Histories are encoded and scored against all items once. Items to which nothing is added keep their scores whatever
    is chosen, so that the highest of these scores suffice to count how many are above a target, up to the cutoff. The
    other items are few. All of them are cached except those that rank below a full list of the former even with the
    largest possible addition.

    Args:
        model: a trained model with its whole item table in this process.
        targets: M targets.
        part: the calibrated part of the model; its search starts from its current choice.
        seen: see `rank_targets`.
        cut: the cutoff; ranks beyond it are `MISS`.
        device: the model's device.
        processes: each ranks its own part of the targets and receives all ranks.
    """

    def __init__(
        self,
        model: VectorRecommender,
        targets: Targets,
        part: Calibrated[Any],
        *,
        seen: Seen,
        cut: int,
        device: torch.device,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self._model, self._part, self._seen, self._cut = model, part, seen, cut
        self._device, self._processes, self._total = device, processes, len(targets)
        self._targets = targets.take(np.arange(len(targets))[processes.part(len(targets))])
        order = by_length(model, self._targets)
        self._batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        self._kept = list[_Lists]()
        room = _KEPT_BYTES
        for batch in self._batches:
            lists = self._read(batch)
            room -= lists.size
            if room < 0:
                break
            self._kept.append(lists)

    def ranks(self) -> IntArray:
        """(M,) int64 ranks under the part's current choice, defined as in `rank_targets`; `MISS` beyond the cutoff."""
        ranks = torch.empty(len(self._targets), dtype=torch.int64)
        for batch, kept in zip_longest(self._batches, self._kept):
            ranks[torch.from_numpy(batch)] = self._rank(kept or self._read(batch)).cpu()
        everyone: IntArray = self._processes.gather(ranks, self._total).numpy()
        return everyone

    def _read(self, batch: IntArray) -> _Lists:
        """Score all items for the histories of some targets, and keep the scores that can matter."""
        rows = rows_per_chunk(self._model.num_items, self._device)
        with inference(self._model, self._device):
            found = [
                self._keep(self._targets.take(batch[start : start + rows]))
                for start in range(0, len(batch), rows)
            ]
            return _Lists(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _rank(self, lists: _Lists) -> Tensor:
        weights = self._part.coefficients()
        own = lists.own + lists.own_features @ weights
        others = lists.scores + lists.features @ weights
        # Ties count against a target, and so does NaN.
        over = F.pad((~(others < own.repeat_interleave(lists.counts))).cumsum(0), (1, 0))
        above = (~(lists.best < own.unsqueeze(1))).sum(1) + over[F.pad(lists.counts.cumsum(0), (1, 0))].diff()
        return torch.where((own > -torch.inf) & (above < self._cut), above + 1, MISS)

    def _keep(self, targets: Targets) -> _Lists:
        histories, excluded = asked(targets, None, self._seen, self._device)
        scores, features = self._model.scores_apart(histories, self._part)
        if excluded is not None:
            scores = exclude(scores, excluded)
        scores[:, 0] = -torch.inf
        count, ids = scores.shape
        weighed = scores.new_zeros(features.values.shape[1], count, ids)
        weighed.flatten(1).index_add_(1, features.rows * ids + features.items, features.values.T)
        mine = to_device(torch.from_numpy(targets.items), self._device).unsqueeze(1)
        own, own_features = scores.gather(1, mine), weighed.gather(2, mine.expand(len(weighed), -1, -1))
        scores.scatter_(1, mine, -torch.inf)
        moves = (weighed != 0).any(0)
        best = scores.masked_fill(moves, -torch.inf).topk(min(self._cut, ids)).values
        most = scores + torch.einsum("f,fbv->bv", self._part.largest(), weighed)
        moves &= ~(most < best[:, -1:])
        return _Lists(
            own.squeeze(1), own_features.squeeze(2).T, best, moves.sum(1), scores[moves], weighed[:, moves].T
        )
