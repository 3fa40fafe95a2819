"""Test whether the order of a log matters: Markov and SASRec on the log, and on the log with each history shuffled.

The held-out item is each user's last but one, so that nothing is learnt about test targets. Both runs train on the same
items and query with the same items, either in order or in one random order. Popularity, which ignores order, is
included for comparison. SASRec is trained for a number of epochs that depends only on the number of rows, so that the
result is determined by the seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mclrec.data.packed import IntArray, ranges, shuffled
from mclrec.data.returns import share_of_returns, suited_protocol
from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, Targets, by_files, leave_one_out
from mclrec.evaluation.metrics import FloatArray, Metric, main_metric, per_user
from mclrec.evaluation.order_effect import OrderEffect, order_effect
from mclrec.evaluation.protocol import SEEN_OF, Seen
from mclrec.evaluation.ranking import rank_targets
from mclrec.models import registry
from mclrec.models.base import Recommender
from mclrec.randomness import Stream, generator
from mclrec.recipes import Recipe, resolve
from mclrec.recipes.auto import AUTO, DataSizes
from mclrec.runs.construction import build, longest_time
from mclrec.runs.plan import duration
from mclrec.training.kept_threads import kept_threads
from mclrec.training.reporting import EpochStart, SilentReporter
from mclrec.training.trainer import Trainer
from mclrec.wording import count_of

__all__ = ["OrderProbe", "probe_order", "shuffled_histories"]

_TRAINED = "sasrec"
_COUNTED = ("markov", "popularity")

_MOST_ROWS = 200_000
"""Approximate number of interactions used at most; from a longer log, users are sampled by the seed."""

_BUDGET = 1_500_000
"""Interactions to train on, summed over all epochs of one training."""

_EPOCHS = (6, 40)
"""Minimum and maximum number of epochs of a training."""

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class OrderProbe:
    """Result of a test of whether the order of histories matters.

    Attributes:
        effect: metrics of the systems with and without order.
        label: label of the protocol, which is the one that suits the log.
        rows: number of interactions used.
        of_rows: number of interactions in the log.
        epochs: number of epochs of each training.
        seed: seed of everything random.
    """

    effect: OrderEffect
    label: str
    rows: int
    of_rows: int
    epochs: int
    seed: int

    @property
    def notes(self) -> list[str]:
        """Sentences on how the result was obtained."""
        some = "" if self.rows == self.of_rows else f", of users drawn at random from all {self.of_rows:,}"
        found = [
            (
                f"Each user's second-to-last item is ranked, from {count_of(self.rows, 'interaction')}{some}; protocol "
                f"{self.label}, seed {self.seed}; SASRec is trained for {count_of(self.epochs, 'epoch')}, both ways."
            )
        ]
        by_name = {system.name: system for system in self.effect.systems}
        better = [name for name in _COUNTED if by_name[name].ordered > by_name[_TRAINED].ordered]
        if better:
            found.append(
                f"So few epochs leave SASRec below {' and '.join(better)}: here it says little about order."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            **self.effect.to_json(),
            "protocol": self.label,
            "rows": self.rows,
            "of_rows": self.of_rows,
            "epochs": self.epochs,
            "seed": self.seed,
            "notes": self.notes,
        }


def probe_order(
    data: SequenceData,
    *,
    seed: int = 1,
    planned: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> OrderProbe:
    """Test whether the order of histories matters on a log; takes a minute or two, on one thread.

    Args:
        data: the log; if it comes in files, only its training part is used.
        seed: seed of the shuffle, of the training, and of the sample of users if there are too many rows.
        planned: called with a line that says what is going to be done and about how long it takes.
        progress: called with the number of steps done and the number of all steps.

    Raises:
        DataError: no user has three interactions, or no history has two.
    """
    whole = data if data.cuts is None else by_files(data).training
    part = _some_users(whole, seed)
    arms = _arms(part, seed)
    ordered = arms["in order"]
    returns = share_of_returns(ordered.test)
    label = suited_protocol(returns)
    recipe = _recipe(ordered, returns)
    with kept_threads():
        torch.set_num_threads(1)
        if planned is not None:
            planned(_plan(ordered, recipe))
        steps = _Steps(progress)
        values = {arm: _values(split, recipe, SEEN_OF[label], seed, steps) for arm, split in arms.items()}
    effect = order_effect(values["in order"], values["shuffled"], str(main_metric(part.num_items)))
    return OrderProbe(
        effect, label, part.num_interactions, data.num_interactions, recipe.training.epochs, seed
    )


def shuffled_histories(data: SequenceData, lengths: IntArray, rng: np.random.Generator) -> SequenceData:
    """Shuffle the first ``lengths[u]`` items of each user; times keep their positions."""
    places = ranges(data.offsets[:-1], lengths)
    items = data.items.copy()
    items[places] = data.items[places[shuffled(lengths, rng)]]
    return replace(data, items=items)


def _some_users(data: SequenceData, seed: int) -> SequenceData:
    """The data of all users or, if there are too many rows, of a random sample of users and the items they have."""
    if data.num_interactions <= _MOST_ROWS:
        return data
    order = generator(seed, Stream.SHUFFLE, 0).permutation(data.num_users)
    enough = int(np.searchsorted(np.cumsum(data.lengths[order]), _MOST_ROWS)) + 1
    users = np.sort(order[:enough])
    places = ranges(data.offsets[users], data.lengths[users])
    kept, items = np.unique(data.items[places], return_inverse=True)
    return SequenceData(
        items=(items + 1).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(data.lengths[users])]),
        item_ids=data.item_ids.take(kept.astype(np.int64) - 1),
        user_ids=data.user_ids.take(users),
        name=data.name,
    )


def _arms(data: SequenceData, seed: int) -> dict[str, Split]:
    """The log in order and shuffled, as splits with the same targets as their test and no validation targets."""
    found = leave_one_out(data)
    lengths = found.training.lengths
    other = shuffled_histories(data, lengths, generator(seed, Stream.SHUFFLE, 1))
    splits = {"in order": found, "shuffled": leave_one_out(other)}
    none: IntArray = np.empty(0, dtype=np.int64)
    return {
        arm: replace(split, validation=Targets(split.data, none, none), test=split.validation)
        for arm, split in splits.items()
    }


def _recipe(split: Split, returns: float | None) -> Recipe:
    """Recipe of SASRec: that of `auto`, for a fixed number of epochs in fp32."""
    rows = split.training.num_interactions
    epochs = int(np.clip(round(_BUDGET / max(rows, 1)), *_EPOCHS))
    settings = {"epochs": epochs, "precision": "fp32", "stopping": "best"}
    return resolve(_TRAINED, None, AUTO, settings, DataSizes.of(split, returns))


def _plan(split: Split, recipe: Recipe) -> str:
    seconds = 2 * longest_time(split, recipe, _CPU, steps=4)
    return (
        f"SASRec is trained twice, in order and shuffled, for {count_of(recipe.training.epochs, 'epoch')} of "
        f"{count_of(split.training.num_interactions, 'interaction')}: about {duration(seconds)}"
    )


def _values(split: Split, recipe: Recipe, seen: Seen, seed: int, steps: _Steps) -> Mapping[str, FloatArray]:
    """Value of the main metric for each target, by system."""
    found: dict[str, FloatArray] = {}
    metric: Metric = main_metric(split.data.num_items)
    for name in (_TRAINED, *_COUNTED):
        model = _trained(split, recipe, seed, steps) if name == _TRAINED else _counted(name, split)
        found[name] = per_user(rank_targets(model, split.test, seen=seen), metric.name, metric.k)
    return found


def _counted(name: str, split: Split) -> Recommender:
    kind = registry.model_class(name)
    model = kind(kind.config_type(), split.data.num_items)
    model.on_fit_start(split.training)
    return model


def _trained(split: Split, recipe: Recipe, seed: int, steps: _Steps) -> Recommender:
    model = build(recipe, split.training, seed)
    with tempfile.TemporaryDirectory(prefix="mclrec-") as folder:
        trainer = Trainer(
            model,
            split,
            recipe.training,
            seed=seed,
            directory=Path(folder),
            device=_CPU,
            identity={},
            reporter=steps,
        )
        if trainer.fit().interrupted:
            raise KeyboardInterrupt
    return model


class _Steps(SilentReporter):
    """Counts the batches of both trainings."""

    def __init__(self, progress: Callable[[int, int], None] | None) -> None:
        self._progress = progress
        self._done = self._total = 0

    def epoch_started(self, start: EpochStart) -> None:
        """Compute the total number of batches."""
        self._total = 2 * start.epochs * start.steps

    def stepped(self, losses: dict[str, float]) -> None:  # noqa: ARG002 - `Reporter`
        """Count a batch."""
        self._done += 1
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)
