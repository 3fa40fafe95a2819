"""Validation while a model trains: the metric that chooses epochs, and targets that calibration goes by."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from mclrec.data.returns import share_of_returns
from mclrec.data.split import Split, Targets
from mclrec.distributed.processes import Processes
from mclrec.evaluation.metrics import parse_metric
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import Recommender
from mclrec.randomness import Stream, generator
from mclrec.training.config import TrainingConfig

__all__ = ["Validator", "returning_targets"]

_FEWEST_RETURNS = 30
"""Validation targets that are in their histories, without which there is nothing to go by."""

_EACH_EPOCH = 5_000
"""Targets by which a model is calibrated before each validation."""


class Validator:
    """Measures a model on the validation targets of a split.

    Where items of the history are candidates, a model is calibrated first if it can be: it will be after training, and
    else the epoch would be chosen by lists that nobody gets.

    Args:
        model: the model that trains.
        split: whose validation targets are ranked.
        config: the metric and the protocol.
        seed: of the run; draws the targets of calibration.
        device: where the model is.
        processes: all validate together, and calibrate alike.
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
        self._model, self._targets = model, split.validation
        self._metric = parse_metric(config.metric)
        self._rank = partial(rank_targets, seen=config.seen, device=device, processes=processes)
        calibrates = model.calibrates and config.seen == "keep"
        self._returning = returning_targets(split.validation, _EACH_EPOCH, seed) if calibrates else None

    def measure(self) -> float:
        """The metric of the model as it now is."""
        if self._returning is not None:
            self._model.recalibrate(partial(self._value, self._returning))
        return self._value(self._targets)

    def _value(self, targets: Targets) -> float:
        return self._metric.mean(self._rank(self._model, targets))


def returning_targets(targets: Targets, most: int, seed: int) -> Targets | None:
    """Targets by which to calibrate: all of them, or so many that are drawn; None where hardly anybody returns.

    Args:
        targets: of validation.
        most: how many are drawn of more.
        seed: of the run.
    """
    if len(targets) * (share_of_returns(targets) or 0.0) < _FEWEST_RETURNS:
        return None
    if len(targets) <= most:
        return targets
    return targets.take(
        np.sort(generator(seed, Stream.CALIBRATION).choice(len(targets), most, replace=False))
    )
