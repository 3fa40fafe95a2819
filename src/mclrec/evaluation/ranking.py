"""Full-catalogue evaluation: exact ranks of held-out items, lists of the best items, top k of a score matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from mclrec.data.batches import Histories
from mclrec.data.packed import IntArray, Packed
from mclrec.data.split import Part, Split, Targets
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.evaluation.metrics import MISS, check_cut, default_cuts, summarise
from mclrec.evaluation.protocol import Protocol, Result, Seen, library_versions, repeats
from mclrec.models.base import Recommender
from mclrec.models.item_table import exclude

__all__ = [
    "SCORE_BYTES",
    "asked",
    "by_length",
    "evaluate",
    "inference",
    "list_items",
    "rank_targets",
    "rows_per_chunk",
    "top_items",
]

SCORE_BYTES = 3 * 2**20
"""Memory for one chunk of fp32 scores, small enough to stay in the CPU's cache until ranks are counted. The memory of
much larger chunks is mapped anew each time, which takes twice as long."""

DEVICE_SCORE_BYTES = 2**28
"""Memory for one chunk of scores on a GPU, which has no such cache and is synchronised with once per chunk."""

_MIN_ROWS = 32  # with fewer rows, reading the item table costs more than the cache saves
_MAX_ROWS = 1024  # encoding takes memory too, and is no faster with more rows


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
    """Evaluate a model: rank the targets of one part of a split and compute the metrics.

    Args:
        model: a trained model; it is on ``device``.
        split: the data that it was trained on, and the targets.
        name: name of the model in the registry.
        part: the part of the split whose targets are ranked.
        seen: whether items of the history stay candidates; see `Protocol`.
        ks: cutoffs of the metrics; by default those of the paper that do not exceed the catalogue.
        seed: training seed, recorded in the result.
        device: the model's device; by default that of its weights.
        batch_size: see `rank_targets`.
        progress: see `rank_targets`.
        processes: see `rank_targets`.

    Raises:
        EvaluationError: a cutoff is not in 1..V, or there are no targets.
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
        user_counts=split.training.lengths,
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

    Ties count against the target, and so does NaN: a constant scorer ranks every target last. A target whose score is
    NaN or -inf could be in no list (see `top_items`), and is a miss at every cutoff. The model sees the last
    ``model.reads`` items of a history, or as many as it ``remembers`` if all items are candidates.

    Args:
        model: the model, which scores histories in fp32; its training modes are restored afterwards.
        targets: M targets.
        seen: ``keep`` ranks among all items. ``drop`` ranks among the items that are not in the user's complete
            history, not only in the part that the model sees; a target that is in the history is a miss.
        device: the model's device; by default that of its weights.
        batch_size: targets encoded at once; they are scored and ranked in chunks of `rows_per_chunk`.
        progress: called after each batch with the number of targets in it.
        processes: each process ranks its own part of the targets and receives all ranks.

    Returns:
        (M,) int64 ranks within 1..V, or `MISS`, in the order of the targets.
    """
    place, total = device or _device_of(model), len(targets)
    targets = targets.take(np.arange(total)[processes.part(total)])
    ranks = np.empty(len(targets), dtype=np.int64)
    order = by_length(model, targets)
    with inference(model, place):
        # All processes rank as many batches, so that they meet in each; the last may be empty in some.
        for start in range(0, -(-total // processes.size), batch_size):
            rows = order[start : start + batch_size]
            ranks[rows] = _rank_rows(model, targets, rows, seen, place)
            if progress is not None:
                progress(len(rows))
    everyone: IntArray = processes.gather(torch.from_numpy(ranks), total).numpy()
    return everyone


def list_items(
    model: Recommender,
    targets: Targets,
    k: int,
    *,
    seen: Seen,
    device: torch.device | None = None,
    batch_size: int = _MAX_ROWS,
    progress: Callable[[int], None] | None = None,
) -> IntArray:
    """List the k best items for the history before each target, in the order of `top_items`.

    Args:
        model: the model, which scores histories in fp32; its training modes are restored afterwards.
        targets: M targets; only their histories affect the lists.
        k: length of the lists.
        seen: ``drop`` lists no item of the user's complete history, not only of the part that the model sees.
        device: the model's device; by default that of its weights.
        batch_size: targets per call of ``progress``; they are scored in chunks of at most `rows_per_chunk`.
        progress: called after each batch with the number of lists in it.

    Returns:
        (M, k) int64 dense ids, best first; 0 where a list runs out of items.

    Raises:
        EvaluationError: k is not in 1..V.
    """
    check_cut(k, model.num_items)
    place, order = device or _device_of(model), by_length(model, targets)
    step = min(batch_size, rows_per_chunk(model.num_items, place))
    lists = np.zeros((len(targets), k), dtype=np.int64)
    with inference(model, place):
        for start in range(0, len(targets), batch_size):
            batch = order[start : start + batch_size]
            for first in range(0, len(batch), step):
                rows = batch[first : first + step]
                histories, excluded = asked(targets.take(rows), _history_limit(model, seen), seen, place)
                lists[rows] = top_items(model.scores(histories).float(), k, excluded)[0].cpu().numpy()
            if progress is not None:
                progress(len(batch))
    return lists


def top_items(scores: Tensor, k: int, seen: Packed | None = None) -> tuple[Tensor, Tensor]:
    """Top k items of each row, best first; ties are broken by the lower id, on every device.

    Args:
        scores: (B, V + 1) fp32; column 0 is ignored, NaN and -inf are never listed.
        k: length of the lists.
        seen: B histories whose items are excluded.

    Returns:
        Dense ids (B, k) and their scores (B, k); id 0 and -inf in the places after a row runs out of items.

    Raises:
        EvaluationError: k is not in 1..V.
    """
    num_items = scores.shape[1] - 1
    check_cut(k, num_items)
    if seen is not None:
        scores = exclude(scores, seen)
    scores = scores[:, 1:].nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    values, best = scores.topk(min(k + 1, num_items))
    best = best[:, :k]
    if k < num_items:
        # topk does not define the order of ties; rows with a tie across the end of the list need a stable sort.
        tied = values[:, k - 1] == values[:, k]
        if tied.any():
            best[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    best = best.sort(dim=1).values
    values, order = scores.gather(1, best).sort(dim=1, descending=True, stable=True)
    return torch.where(values > -torch.inf, best.gather(1, order) + 1, 0), values


def rows_per_chunk(num_items: int, device: torch.device | None = None) -> int:
    """Number of rows of V + 1 fp32 scores that fit into `SCORE_BYTES`; at least 32, at most 1024.

    The limit is `DEVICE_SCORE_BYTES` if the device is not the CPU.
    """
    room = SCORE_BYTES if device is None or device.type == "cpu" else DEVICE_SCORE_BYTES
    return min(_MAX_ROWS, max(_MIN_ROWS, room // (4 * (num_items + 1))))


def by_length(model: Recommender, targets: Targets) -> IntArray:
    """(M,) rows of the targets sorted by history length, so that models that pad have little to pad."""
    lengths = targets.places - targets.data.offsets[targets.users]
    return np.argsort(np.minimum(lengths, model.reads), kind="stable")


def _device_of(model: Recommender) -> torch.device:
    """Device of the first parameter, or of the first buffer if there are no parameters."""
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def asked(
    targets: Targets, longest: int | None, seen: Seen, device: torch.device
) -> tuple[Histories, Packed | None]:
    """Model inputs for the targets: the ``longest`` newest items of each history, and the items that are excluded.

    All items of a history are returned if ``longest`` is None; nothing is excluded (None) if ``seen`` is ``keep``.
    """
    everyone = np.arange(len(targets))
    histories = Histories.of(targets.histories(everyone, longest), targets.users + 1).to(device)
    return histories, None if seen == "keep" else targets.histories(everyone)


def _history_limit(model: Recommender, seen: Seen) -> int | None:
    """Number of newest items of a history that a ranking depends on; None for all items."""
    # Items older than ``reads`` affect only the scores of items of the history, which ``drop`` excludes.
    return model.remembers if seen == "keep" else model.reads


def _rank_rows(
    model: Recommender, targets: Targets, rows: IntArray, seen: Seen, device: torch.device
) -> IntArray:
    chunk = targets.take(rows)
    histories, excluded = asked(chunk, _history_limit(model, seen), seen, device)
    items = torch.from_numpy(chunk.items)
    ranks: IntArray = model.ranks(histories, items, excluded, rows_per_chunk(model.num_items, device)).numpy()
    missed = ranks > model.num_items
    if excluded is not None:
        missed |= repeats(excluded, chunk.items)
    return np.where(missed, MISS, ranks)


@contextmanager
def inference(model: Recommender, device: torch.device) -> Iterator[None]:
    """Context of evaluation mode, without gradients or autocast; the mode of each module is restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
