"""A stub model whose losses, parameters and validation metric are known in advance, and trainers for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories
from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.data.vocabulary import Vocabulary
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.models.base import ModelConfig, Recommender
from mclrec.models.phases import (
    FitContext,
    Losses,
    Phase,
    StepContext,
    Term,
    Update,
    next_item_examples,
)
from mclrec.recipes import resolve
from mclrec.recipes.shared_settings import combine_settings
from mclrec.runs.construction import build
from mclrec.training.config import TrainingConfig
from mclrec.training.reporting import EpochRecord, EpochStart, Reporter, SilentReporter
from mclrec.training.trainer import Trainer

SMALL: dict[str, Any] = {"hidden_size": 8, "heads": 2, "inner_size": 16, "max_length": 8, "batch_size": 16}


class StubConfig(ModelConfig):
    """Configuration without settings."""


class Stub(Recommender):
    """A model of two scalars that move away from zero; its validation rank in each epoch is read from a script.

    Args:
        script: rank of every target after epoch 1, 2, ... of a phase.
        phases: training phases; one validating phase over "walker" if empty.
        bad: number of the call, counted from 1, at which the "walker" loss is not finite; never if 0.
    """

    config_type = StubConfig
    max_length = 5
    epoch: Tensor

    def __init__(
        self, data: SequenceData, script: Sequence[int] = (1,), phases: Sequence[Phase] = (), bad: int = 0
    ) -> None:
        super().__init__(StubConfig(), data.num_items)
        self.walker, self.other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.unused = nn.Parameter(torch.zeros(1))
        self.register_buffer("epoch", torch.tensor(0))
        self.script, self.stages, self.bad = list(script), phases, bad
        self.calls: list[str] = []
        self.uses = 0

    def phases(self) -> Sequence[Phase]:
        return self.stages or (stage("train", Update(self.walk, "walker")),)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"walker": [self.walker, self.unused], "other": [self.other]}

    def learning_rates(self) -> dict[str, float]:
        return {"other": 0.5}

    def on_fit_start(self, data: SequenceData) -> None:
        self.calls.append(f"fit {data.num_interactions}")

    def on_phase_start(self, phase: str) -> None:
        self.calls.append(phase)

    def on_epoch_start(self, context: FitContext) -> None:
        self.calls.append(f"epoch {context.epoch}")
        self.epoch.fill_(context.epoch)

    def walk(self, batch: Batch, context: StepContext) -> Losses:
        """Loss with its minimum at walker = 100; its scale, and thus Adam's moments, depend on the batch."""
        self.uses += 1
        factor = torch.inf if self.uses == self.bad else batch.targets.float().mean()
        return {"far": Term(((self.walker - 100) ** 2).sum() * factor)}

    def stray(self, batch: Batch, context: StepContext) -> Losses:
        """Loss with its minimum where the two scalars are equal."""
        return {"apart": Term(((self.other - self.walker) ** 2).sum(), count=len(batch))}

    def scores(self, histories: Histories) -> Tensor:
        """Scores that give item 4, the only validation target, the rank from the script."""
        row = -torch.ones(self.num_items + 1)
        row[5 : 4 + self.script[int(self.epoch) - 1]] = 1
        row[4] = 0
        return row.expand(len(histories), -1)


def stage(name: str, *updates: Update, epochs: int | None = None, validate: bool = True) -> Phase:
    """A phase over prefixes."""
    examples = next_item_examples("prefixes", 5)
    return Phase(updates, examples, name=name, epochs=epochs, validate=validate)


def marching(users: int = 6, items: int = 20) -> SequenceData:
    """Data in which every history is 1, 2, 3, 4, 5: two examples per user, and validation target 4."""
    return SequenceData(
        items=np.tile(np.arange(1, 6, dtype=np.int32), users),
        offsets=np.arange(users + 1) * 5,
        item_ids=Vocabulary(range(items)),
        user_ids=Vocabulary(range(users)),
        name="marching",
    )


class Recorder(SilentReporter):
    """Records what is reported, and the model's weights at the end of each epoch."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.started: list[tuple[str, int, int, int]] = []
        self.steps = 0
        self.records: list[EpochRecord] = []
        self.weights: list[dict[str, Tensor]] = []

    def epoch_started(self, start: EpochStart) -> None:
        self.started.append((start.phase, start.epoch, start.steps, start.done))

    def stepped(self, losses: dict[str, float]) -> None:
        self.steps += 1

    def epoch_finished(self, record: EpochRecord) -> None:
        self.records.append(record)
        self.weights.append(weights(self.model))


def stub_trainer(
    model: Stub, data: SequenceData, directory: Path, reporter: Reporter | None = None, **training: Any
) -> Trainer:
    """A trainer with four batches per epoch of `marching`; the scripted metric is MRR@10."""
    config = TrainingConfig.model_validate({"batch_size": 3, "epochs": 5, **training})
    return Trainer(
        model,
        leave_one_out(data),
        config,
        seed=1,
        directory=directory,
        device=torch.device("cpu"),
        identity={"seed": 1},
        reporter=reporter,
    )


def real_trainer(
    name: str,
    data: SequenceData,
    directory: Path,
    *,
    seed: int = 1,
    initial: int = 1,
    reporter: Reporter | None = None,
    processes: Processes = SINGLE_PROCESS,
    **settings: Any,
) -> Trainer:
    """A trainer of a small registered model with its default recipe; ``initial`` seeds its initial weights."""
    usual = {key: value for key, value in {**SMALL, "epochs": 3}.items() if key not in settings}
    small = combine_settings(name, data.name, None, settings, usual)
    recipe = resolve(name, data.name, None, small)
    split = leave_one_out(data)
    return Trainer(
        build(recipe, split.training, initial),
        split,
        recipe.training,
        seed=seed,
        directory=directory,
        device=torch.device("cpu"),
        identity={"seed": seed},
        reporter=reporter,
        processes=processes,
    )


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether both have the same names, and all tensors are equal."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def timeless(history: Sequence[EpochRecord]) -> list[dict[str, Any]]:
    """Epoch records without their durations, which differ between runs."""
    return [{key: value for key, value in asdict(record).items() if key != "seconds"} for record in history]
