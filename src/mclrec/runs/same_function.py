"""Check that weights keep their meaning in a warm start: settings may differ although all shapes agree."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from mclrec.configuration import option_text
from mclrec.data.batches import Histories
from mclrec.data.packed import IntArray, Packed
from mclrec.errors import MclrecWarning
from mclrec.models.base import Recommender, VectorRecommender
from mclrec.randomness import Stream, generator

__all__ = ["warn_of_other_function"]

_HISTORIES = 8
_LONGEST = 20
_ITEMS = 16
_ROUNDING = 1e-3
"""Tolerated relative difference of scores; differences between devices and precisions are far smaller."""


def warn_of_other_function(model: Recommender, earlier: Recommender, places: IntArray) -> None:
    """Warn if a model scores items differently, for a few histories, from the earlier model whose weights it has.

    Sharded models are not compared, since no process has all vectors.

    Args:
        model: the new model, with the earlier model's weights.
        earlier: the earlier model, of the same class.
        places: (V,) dense id of each item in the earlier model, 0 for a new item.
    """
    differing = _differing(model, earlier)
    known = np.flatnonzero(places) + 1
    if not (differing and len(known) and isinstance(model, VectorRecommender)) or not model.shard.whole:
        return
    assert isinstance(earlier, VectorRecommender)
    rng = generator(0, Stream.WARM_START)
    longest = min(_LONGEST, model.max_length, earlier.max_length)
    lengths = rng.integers(1, longest + 1, _HISTORIES)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = rng.choice(known, int(offsets[-1])).astype(np.int64)
    ranked = rng.choice(known, _ITEMS).astype(np.int64)
    here = _scores(model, Packed(items, offsets), ranked)
    there = _scores(earlier, Packed(places[items - 1].astype(np.int64), offsets), places[ranked - 1])
    if float((here - there).norm()) > _ROUNDING * float(there.norm()):
        warnings.warn(
            f"continuing with {', '.join(differing)}: the earlier model's weights had another meaning, and training "
            "starts far from it; give the earlier settings, or train from scratch",
            MclrecWarning,
            stacklevel=3,
        )


def _differing(model: Recommender, earlier: Recommender) -> list[str]:
    """The settings in which two models differ, as ``key = new, earlier old``."""
    now, before = (one.config.model_dump(mode="json", by_alias=True) for one in (model, earlier))
    return [
        f"{key} = {_told(now, key)}, earlier {_told(before, key)}"
        for key in {**now, **before}
        if (key in now, now.get(key)) != (key in before, before.get(key))
    ]


def _told(settings: dict[str, object], key: str) -> str:
    return option_text(settings[key]) if key in settings else "without effect"


@torch.no_grad()
def _scores(model: VectorRecommender, histories: Packed, ranked: IntArray) -> Tensor:
    """Scores of K items for unknown users, without dropout and without score additions: (B, K)."""
    was = model.training
    device = next(model.parameters()).device
    made = Histories.of(histories)
    ids = torch.from_numpy(ranked.astype(np.int64)).to(device).expand(len(made), -1)
    try:
        queries = model.eval().query_vectors(
            Histories(made.users.to(device), made.items.to(device), made.offsets)
        )
        found = model.items().pair_scores(queries.unsqueeze(1), ids)
    finally:
        model.train(was)
    return found.float().cpu()
