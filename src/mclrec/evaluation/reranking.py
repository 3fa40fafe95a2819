"""Exact ranks of the same targets again and again, while validation chooses what is added to scores."""

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
"""The longest list that ranks are counted within: so many scores are kept for each target."""

_BATCH = 1024
"""Targets that are ranked at once."""

_KEPT_BYTES = 2**29
"""Memory for what is kept of scores; what does not fit is computed anew each time."""


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
    """Make a function that ranks the targets again and again, while nothing changes but what ``part`` has chosen.

    Args:
        model: a trained model.
        targets: M targets.
        part: of the model.
        seen: as `rank_targets` takes it.
        cut: of the metric. Ranks beyond it may be `MISS`.
        device: where the model is.
        processes: all call the function together; each ranks a part of the targets, and gets all ranks.
    """
    if isinstance(model, VectorRecommender) and model.shard.whole and cut <= _MOST:
        return Reranker(model, targets, part, seen=seen, cut=cut, device=device, processes=processes).ranks
    return partial(rank_targets, model, targets, seen=seen, device=device, processes=processes)


class _Lists(NamedTuple):
    """What is kept of the scores after the histories of B targets, without what is chosen.

    Attributes:
        own: (B,) scores of the targets; -inf where a target is no candidate.
        own_features: (B, F) what `Calibrated.coefficients` weigh in them.
        best: (B, cut) the highest scores of other items to which nothing is added, whatever is chosen.
        counts: (B,) how many other items there are to which something is.
        scores: (E,) theirs, one target after the other.
        features: (E, F) what is weighed in them.
    """

    own: Tensor
    own_features: Tensor
    best: Tensor
    counts: Tensor
    scores: Tensor
    features: Tensor

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(each.nbytes for each in self)


class Reranker:
    """Ranks within a cut, from what is left of all scores without those that can never matter.

    Histories are encoded and compared with all items once. Whatever is chosen, items to which nothing is added keep
    their scores, so that the highest of them tell how many of them are above a target, up to the cut. The others are
    few. They are all kept, but for those that stay below a whole list of the former even with the most that is added.

    Args:
        model: a trained model with all of its item table.
        targets: M targets.
        part: of the model; its search begins at what it has chosen by now.
        seen: as `rank_targets` takes it.
        cut: ranks beyond it are `MISS`.
        device: where the model is.
        processes: each ranks its own part of the targets, and gets all ranks.
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
        """(M,) int64 ranks by what the part has chosen now, as `rank_targets` counts them; `MISS` beyond the cut."""
        ranks = torch.empty(len(self._targets), dtype=torch.int64)
        for batch, kept in zip_longest(self._batches, self._kept):
            ranks[torch.from_numpy(batch)] = self._rank(kept or self._read(batch)).cpu()
        everyone: IntArray = self._processes.gather(ranks, self._total).numpy()
        return everyone

    def _read(self, batch: IntArray) -> _Lists:
        """Score all items after the histories of some targets, and keep what matters."""
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
