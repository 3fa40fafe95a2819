"""Exact ranks of held-out items among the whole catalogue, and the best items of a score matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.packed import IntArray, Packed
from mclrec.data.split import Part, Split, Targets
from mclrec.errors import EvaluationError
from mclrec.evaluation.metrics import check_cut, default_cuts, summarise
from mclrec.evaluation.protocol import Protocol, Result, Seen, library_versions, repeats
from mclrec.models.base import Recommender, VectorRecommender
from mclrec.models.item_table import ItemTable
from mclrec.processes import SINGLE_PROCESS, Processes

__all__ = ["SCORE_BYTES", "evaluate", "rank_targets", "rows_per_chunk", "sharded_top_items", "top_items"]

SCORE_BYTES = 3 * 2**20
"""Memory for one chunk of fp32 scores: they stay in a processor's cache until they are counted. Much larger chunks
have their memory mapped afresh each time, and take twice as long."""

_EXACT = 1 << 24  # below it, every whole number is a float

_MIN_ROWS = 32  # fewer would read the item table more often than the scores are worth
_MAX_ROWS = 1024  # encoding takes memory too, and gains nothing by more


def evaluate(
    model: Recommender,
    split: Split,
    *,
    name: str,
    part: Part = "test",
    seen: Seen = "keep",
    ks: Iterable[int] | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    batch_size: int = _MAX_ROWS,
    progress: Callable[[int], None] | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Result:
    """Rank the targets of one part and summarise.

    Args:
        model: a trained model; it is on ``device``.
        split: the data it was trained on, and the targets.
        name: of the model in the registry.
        part: which targets.
        seen: whether items of the history stay candidates; see `Protocol`.
        ks: cuts of the metrics; if None, the paper's that the catalogue allows.
        seed: of the training, for the record.
        device: where the model is; default CPU.
        batch_size: see `rank_targets`.
        progress: see `rank_targets`.
        processes: see `rank_targets`.

    Raises:
        EvaluationError: a cut is not in 1..V.
    """
    cuts = default_cuts(model.num_items) if ks is None else tuple(ks)
    for k in cuts:
        check_cut(k, model.num_items)
    targets = split.targets(part)
    start = perf_counter()
    ranks = rank_targets(
        model,
        targets,
        seen=seen,
        device=device,
        batch_size=batch_size,
        progress=progress,
        processes=processes,
    )
    return Result(
        model=name,
        protocol=Protocol(part, seen, split.name),
        metrics=summarise(ranks, cuts),
        ranks=ranks,
        targets=targets,
        popularity=split.training.popularity,
        seed=seed,
        config=model.config.model_dump(mode="json"),
        versions=library_versions(),
        seconds=perf_counter() - start,
    )


def rank_targets(
    model: Recommender,
    targets: Targets,
    *,
    seen: Seen,
    device: torch.device | None = None,
    batch_size: int = _MAX_ROWS,
    progress: Callable[[int], None] | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> IntArray:
    """Rank each target among all V items: 1 + the number of other candidates that do not score below it.

    Ties count against the target, and so does NaN: a constant scorer ranks every target last, and a target
    whose score is NaN has rank V. The model sees the last ``model.longest`` items of a history.

    Args:
        model: scores histories, in fp32; its training modes are restored afterwards.
        targets: M targets.
        seen: ``keep`` ranks among all items. ``drop`` ranks among the items that are not in the user's
            history (all of it, not only what the model sees); a target that is in it is a miss, rank V + 1.
        device: where the model is; default CPU.
        batch_size: users encoded at once; they are scored and counted in chunks that fit into `SCORE_BYTES`.
        progress: called after each batch with the number of targets in it.
        processes: each ranks its own part of the targets, and is told all ranks; where they share out the item table,
            each looks at its own items for all targets.

    Returns:
        (M,) int64 ranks, in the order of the targets.
    """
    place, total = device or torch.device("cpu"), len(targets)
    sharded = not model.shard.whole
    if not sharded:
        targets = targets.take(np.arange(total)[processes.part(total)])
    rank = _rank_rows_sharded if sharded else _rank_rows
    ranks = np.empty(len(targets), dtype=np.int64)
    # Histories of like length together: models that pad have little to pad.
    lengths = targets.places - targets.data.offsets[targets.users]
    order = np.argsort(np.minimum(lengths, model.max_length), kind="stable")
    with _inference(model, place):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            ranks[rows] = rank(model, targets, rows, seen, place)
            if progress is not None:
                progress(len(rows))
    if sharded:
        return ranks
    everyone: IntArray = processes.gather(torch.from_numpy(ranks), total).numpy()
    return everyone


def top_items(scores: Tensor, k: int, seen: Packed | None = None) -> tuple[Tensor, Tensor]:
    """The k best items of each row, best first; of equal scores the lower id comes first, on every device.

    Args:
        scores: (B, V + 1) fp32; column 0 is ignored, NaN and -inf are never listed.
        k: length of the lists.
        seen: B histories whose items are left out.

    Returns:
        Dense ids (B, k) and their scores (B, k). Where a row runs out of items: id 0 and -inf.

    Raises:
        EvaluationError: k is not in 1..V.
    """
    num_items = scores.shape[1] - 1
    check_cut(k, num_items)
    if seen is not None:
        scores = _without(scores, seen)
    scores = scores[:, 1:].nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    values, best = scores.topk(min(k + 1, num_items))
    best = best[:, :k]
    if k < num_items:
        # topk promises nothing about ties; a stable sort of the row settles one across the end of the list.
        tied = values[:, k - 1] == values[:, k]
        if tied.any():
            best[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    best = best.sort(dim=1).values
    values, order = scores.gather(1, best).sort(dim=1, descending=True, stable=True)
    return torch.where(values > -torch.inf, best.gather(1, order) + 1, 0), values


def sharded_top_items(
    table: ItemTable, queries: Tensor, k: int, seen: Packed | None = None
) -> tuple[Tensor, Tensor]:
    """`top_items` of a table that processes share out: the best of each shard, then the best of those.

    Args:
        table: the catalogue.
        queries: (B, d), the same in all processes.
        k: length of the lists.
        seen: B histories whose items are left out.

    Returns:
        Dense ids (B, k) and their scores (B, k), as `top_items` does, the same in all processes.

    Raises:
        EvaluationError: k is not in 1..V.
    """
    check_cut(k, table.num_items)
    scores, first = table.scores(queries), table.shard.first
    if seen is not None:
        scores = _without(scores, seen, first)
    if first:  # column 0 is ignored, and here it would be an item
        scores, first = F.pad(scores, (1, 0)), first - 1
    own = min(k, scores.shape[1] - 1)
    ids, values = (
        scores.new_zeros(len(queries), k, dtype=torch.int64),
        scores.new_full((len(queries), k), -torch.inf),
    )
    if own > 0:
        found, values[:, :own] = top_items(scores, own)
        ids[:, :own] = torch.where(found > 0, found + first, 0)
    # Shards are in the order of ids, so a stable sort settles ties as everywhere.
    ids, values = (
        table.shard.processes.all_gather(part)[0].unflatten(0, (-1, len(queries))).transpose(0, 1).flatten(1)
        for part in (ids, values)
    )
    values, order = values.sort(dim=1, descending=True, stable=True)
    return ids.gather(1, order[:, :k]), values[:, :k]


def rows_per_chunk(num_items: int) -> int:
    """How many rows of V + 1 fp32 scores fit into `SCORE_BYTES`; at least 32, at most 2048."""
    return min(_MAX_ROWS, max(_MIN_ROWS, SCORE_BYTES // (4 * (num_items + 1))))


def _rank_rows(
    model: Recommender, targets: Targets, rows: IntArray, seen: Seen, device: torch.device
) -> IntArray:
    chunk = targets.take(rows)
    everyone = np.arange(len(chunk))
    histories = Histories.of(chunk.histories(everyone, model.max_length), chunk.users + 1).to(device)
    ranks, start = np.empty(len(chunk), dtype=np.int64), 0
    for scores in model.scores_by_parts(histories, rows_per_chunk(model.num_items)):
        _check_shape(model, scores)
        part = slice(start, start + len(scores))
        start = part.stop
        items, candidates = chunk.items[part], scores.float()
        if seen == "keep":
            ranks[part] = _ranks(candidates, items)
        else:
            history = chunk.histories(everyone[part])
            found = _ranks(_without(candidates, history), items)
            ranks[part] = np.where(repeats(history, items), model.num_items + 1, found)
    return ranks


def _rank_rows_sharded(
    model: Recommender, targets: Targets, rows: IntArray, seen: Seen, device: torch.device
) -> IntArray:
    """`_rank_rows` where processes share out the items: each encodes its part of the rows, and counts for all."""
    assert isinstance(model, VectorRecommender)
    chunk, processes = targets.take(rows), model.shard.processes
    everyone = np.arange(len(chunk))
    own = everyone[processes.part(len(chunk))]
    histories = Histories.of(chunk.histories(own, model.max_length), chunk.users[own] + 1).to(device)
    queries, _ = processes.all_gather(model.query_vectors(histories))  # (B, d)
    ranks, table = np.empty(len(chunk), dtype=np.int64), model.items()
    size = rows_per_chunk(max(model.shard.counts(model.num_items)))  # the same in all processes
    for start in range(0, len(chunk), size):
        part = slice(start, start + size)
        items, scores = chunk.items[part], table.scores(queries[part])
        if seen == "keep":
            ranks[part] = _ranks_sharded(table, scores, items)
        else:
            history = chunk.histories(everyone[part])
            found = _ranks_sharded(table, _without(scores, history, model.shard.first), items)
            ranks[part] = np.where(repeats(history, items), model.num_items + 1, found)
    return ranks


def _ranks_sharded(table: ItemTable, scores: Tensor, items: IntArray) -> IntArray:
    """`_ranks` of scores (B, own ids): the owner of a target tells its score, and all count what is below it."""
    first, processes = table.shard.first, table.shard.processes
    places = torch.from_numpy(items).to(scores.device) - first
    mine = ((places >= 0) & (places < scores.shape[1])).nonzero().squeeze(1)
    own = scores.new_zeros(len(scores))
    own[mine] = scores[mine, places[mine]]
    candidates = scores if first else scores[:, 1:]
    below = processes.all_reduce_sum(
        _count_below(candidates, processes.all_reduce_sum(own)[:, None]).to(torch.int64)
    )
    ranks: IntArray = table.num_items - below.cpu().numpy()
    return ranks


def _check_shape(model: Recommender, scores: Tensor) -> None:
    if scores.shape[1:] != (model.num_items + 1,):
        raise EvaluationError(
            f"{type(model).__name__}.scores returned {tuple(scores.shape)}, "
            f"not (B, V + 1) = {(len(scores), model.num_items + 1)}"
        )


def _ranks(scores: Tensor, items: IntArray) -> IntArray:
    """(B,) V minus the candidates below the target: no comparison with NaN is true, so NaN never helps."""
    own = scores.gather(1, torch.from_numpy(items).to(scores.device)[:, None])  # (B, 1)
    candidates = scores[:, 1:]
    ranks: IntArray = candidates.shape[1] - _count_below(candidates, own).cpu().numpy().astype(np.int64)
    return ranks


def _count_below(candidates: Tensor, own: Tensor) -> Tensor:
    """(B,) how many of a row are below its ``own`` (B, 1)."""
    # Adding up floats is several times faster than booleans, and exact for so few ones.
    kind = torch.float32 if candidates.shape[1] < _EXACT else torch.int64
    return torch.lt(candidates, own, out=torch.empty_like(candidates, dtype=kind)).sum(1)


def _without(scores: Tensor, seen: Packed, first: int = 0) -> Tensor:
    """Copy of ``scores`` (B, ids from ``first`` on) with -inf at each row's history: the model may own the scores."""
    places = seen.items - first
    there = (places >= 0) & (places < scores.shape[1])
    rows, items = (torch.from_numpy(array[there]).to(scores.device) for array in (seen.rows, places))
    return scores.index_put((rows, items), scores.new_tensor(-torch.inf))


@contextmanager
def _inference(model: Recommender, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients, in full precision; each module's own mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
