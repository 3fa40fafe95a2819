"""Validation during training: the metric that selects the best epoch, and the targets used for calibration."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from time import perf_counter
from typing import TypedDict

import numpy as np
import torch

from mclrec.data.packed import IntArray
from mclrec.data.returns import share_of_returns
from mclrec.data.split import Split, Targets
from mclrec.distributed.processes import Processes
from mclrec.errors import ConfigError, quoted
from mclrec.evaluation.metrics import parse_metric
from mclrec.evaluation.ranking import rank_targets
from mclrec.evaluation.reranking import ranker
from mclrec.models.base import Recommender
from mclrec.nn.repeats import RepeatBias
from mclrec.randomness import Stream, generator
from mclrec.training.config import TrainingConfig
from mclrec.wording import count_of

__all__ = ["Validator", "drawn", "returning_targets"]

_FEWEST_RETURNS = 30
"""Minimum number of validation targets that are in their histories; with fewer, calibration is not reliable."""

_EACH_EPOCH = 5_000
"""Maximum number of targets on which a model is calibrated before each validation."""

_WARMING_UP, _TIMED = 64, 1_024
"""Numbers of targets for warming up and for timing when the time of a validation is estimated."""


class _RankingArguments(TypedDict):
    """Keyword arguments of `rank_targets` and `ranker` that say where targets are ranked."""

    device: torch.device
    processes: Processes


class Validator:
    """Measures a model on the validation targets of a split.

    If there are very many targets, a sample is used, the same in every epoch and for every seed: on a log of a hundred
    million rows, ranking all targets takes several times as long as the epoch. If items of the history are candidates,
    a model with a repeat bias is calibrated first: it will be calibrated after training too, and otherwise the epoch
    would be selected by lists that users never get.

    Args:
        model: the model in training.
        split: the split whose validation targets are ranked.
        config: settings for the metric, the protocol, the number of targets and whether to calibrate.
        seed: seed of the run, for drawing the calibration targets.
        device: the model's device.
        processes: all processes validate together, and calibrate identically.

    Raises:
        ConfigError: the metric is a hit rate at a cutoff that covers the whole catalogue.
    """

    def __init__(
        self,
        model: Recommender,
        split: Split,
        config: TrainingConfig,
        seed: int,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self._model, self._split, self._config, self._seed = model, split, config, seed
        self._metric = parse_metric(config.metric)
        if self._metric.name == "hr" and self._metric.k >= model.num_items:
            raise ConfigError(
                f"metric = {quoted(config.metric)}: is 1 for every model, because there are only "
                f"{count_of(model.num_items, 'item')}; choose a smaller cutoff"
            )
        self._where: _RankingArguments = {"device": device, "processes": processes}

    def measure(self) -> float:
        """Calibrate the model if it can be, and compute the metric with its current weights."""
        part = self._model.repeats
        if part is not None and self._returning is not None:
            rank = self._ranker(part, self._returning)
            part.recalibrate(lambda: self._metric.mean(rank()))
        return self._metric.mean(self._rank(self._targets))

    def expected_seconds(self) -> float:
        """Estimate the seconds that `measure` takes from a few targets, after still fewer to warm up."""
        part, seconds = self._model.repeats, 0.0
        if part is not None and self._returning is not None:
            seconds = _scaled(self._returning, partial(self._ranker, part))
        return seconds + _scaled(self._targets, self._rank)

    def _ranker(self, part: RepeatBias, targets: Targets) -> Callable[[], IntArray]:
        return ranker(self._model, targets, part, seen="keep", cut=self._metric.k, **self._where)

    def _rank(self, targets: Targets) -> IntArray:
        return rank_targets(self._model, targets, seen=self._config.seen, **self._where)

    # Computed lazily: trainers are also made just to time a few batches.

    @cached_property
    def _targets(self) -> Targets:
        rng = generator(0, Stream.VALIDATION)
        return drawn(self._split.validation, self._config.validation_targets, rng)

    @cached_property
    def _returning(self) -> Targets | None:
        if self._model.repeats is None or self._config.seen == "drop" or not self._config.calibrate_scores:
            return None
        return returning_targets(self._split.validation, _EACH_EPOCH, self._seed)


def _scaled(targets: Targets, rank: Callable[[Targets], object]) -> float:
    """Seconds that ``rank`` would take for all targets, extrapolated from a sample of them."""
    if not len(targets):
        return 0.0
    rng = generator(0, Stream.VALIDATION)
    for count in (_WARMING_UP, _TIMED):
        some = drawn(targets, count, rng)
        start = perf_counter()
        rank(some)
        seconds = perf_counter() - start
    return seconds * len(targets) / len(some)


def returning_targets(targets: Targets, most: int, seed: int) -> Targets | None:
    """Targets on which to calibrate: all, or a sample of ``most``; None if too few targets are in their histories.

    Args:
        targets: validation targets.
        most: maximum number of targets; if there are more, this many are drawn.
        seed: seed of the run.
    """
    if len(targets) * (share_of_returns(targets) or 0.0) < _FEWEST_RETURNS:
        return None
    return drawn(targets, most, generator(seed, Stream.CALIBRATION))


def drawn(targets: Targets, most: int | None, rng: np.random.Generator) -> Targets:
    """Random sample of ``most`` targets, in their original order; all if there are no more or ``most`` is None."""
    if most is None or len(targets) <= most:
        return targets
    return targets.take(np.sort(rng.choice(len(targets), most, replace=False)))
