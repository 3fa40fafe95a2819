"""The fast implementation against the reference: all parts of all losses, all gradients, all trained parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, dropwhile, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.plain import Parts, PlainMCLRec, PlainSASRec, rows_of
from torch import Tensor

from mclrec.data.batches import Batch, Histories
from mclrec.data.examples import Examples
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.data.vocabulary import Vocabulary
from mclrec.models.mclrec import MCLRec, MCLRecConfig
from mclrec.models.phases import Collate, Losses, StepContext, Update
from mclrec.models.sasrec import SASRec, SASRecConfig
from mclrec.training.config import TrainingConfig
from mclrec.training.trainer import Trainer

ITEMS, LONGEST = 50, 6
SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "heads": 2,
    "inner_size": 12,
    "max_length": LONGEST,
    "dropout": 0,
    "attention_dropout": 0,
}
LENGTHS = [2, LONGEST + 1, 2, 4, LONGEST + 4, 3]  # inputs of 1 up to n
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
CHOICES: dict[str, list[Any]] = {
    "unit": ["prefixes", "sequences"],
    "loss": ["softmax", "bce"],
    "positions": ["oldest", "newest"],
    "regularizer": ["official", "paper", "off"],
    "mask": ["padding", "own"],
    "updates": ["three", "two", "joint"],
}
REGIMES = list(product(*(CHOICES[key] for key in ("unit", "loss", "positions"))))
SWITCHES = list(product(*(CHOICES[key] for key in ("updates", "regularizer", "mask"))))

Model = SASRec | MCLRec


def large(model: Model) -> Model:
    """Random weights: the usual initialisation is too small to show a mistake."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def mclrec(**chosen: Any) -> Model:
    values = SMALL | {"lambda": 0.3, "beta": 0.2} | chosen
    return large(MCLRec(MCLRecConfig.model_validate(values), ITEMS))


def sasrec(**chosen: Any) -> Model:
    return large(SASRec(SASRecConfig.model_validate(SMALL | chosen), ITEMS))


def plain(model: Model) -> PlainSASRec:
    """The reference with the same parameters, in double precision."""
    made = PlainMCLRec if isinstance(model, MCLRec) else PlainSASRec
    copy = made(model.config, ITEMS).double()  # type: ignore[arg-type]
    copy.load_state_dict(model.state_dict())
    return copy


def ragged(lengths: Sequence[int], seed: int = 0) -> SequenceData:
    """Users without common items while the catalogue suffices; histories longer than 3 end with their first item."""
    ids = cycle((np.random.default_rng(seed).permutation(ITEMS) + 1).tolist())
    rows = [[next(ids) for _ in range(length)] for length in lengths]
    packed = Packed.of([[*row[:-1], row[0]] if len(row) > 3 else row for row in rows])
    items, users = Vocabulary(range(ITEMS)), Vocabulary(range(len(lengths)))
    return SequenceData(packed.items.astype(np.int32), packed.offsets, items, users)


def batch_of(model: Model, lengths: Sequence[int] = LENGTHS, size: int = 7, seed: int = 0) -> Batch:
    """A batch of the shortest input, the longest, and random others."""
    [phase], rng = model.phases(), np.random.default_rng(seed)
    examples = phase.examples(ragged(lengths, seed))
    sizes = examples.at(np.arange(len(examples))).lengths
    chosen = [int(sizes.argmin()), int(sizes.argmax()), *rng.permutation(len(examples)).tolist()]
    rows = np.array(list(dict.fromkeys(chosen))[:size])
    while not _smooth(batch := phase.collate(examples, rows, rng)):
        pass
    return batch


def _smooth(batch: Batch) -> bool:
    """Whether no two histories share a view: R is not differentiable where a negative equals the positive."""
    owners: dict[tuple[int, ...], int] = {}
    for view in batch.views:
        for owner, row in enumerate(rows_of(view)):
            seen = tuple(dropwhile(lambda item: item == 0, row))
            if owners.setdefault(seen, owner) != owner:
                return False
    return True


def close(fast: Tensor, expected: Tensor, scale: float = 0.0) -> None:
    """Check equality within the precision of ``fast``, relative to the largest expected number or to ``scale``."""
    tolerance = TOLERANCE[fast.dtype] * max(float(expected.abs().max()), scale)
    torch.testing.assert_close(fast.double(), expected, rtol=0, atol=tolerance)


def total(parts: Parts) -> Tensor:
    return torch.stack([weight * mean for weight, mean in parts.values()]).sum()


def plain_parts(reference: PlainSASRec, update: Update, batch: Batch) -> Parts:
    parts: Parts = getattr(reference, update.loss.__name__)(batch)
    return parts


def group_of(model: Model, update: Update) -> list[str]:
    chosen = {id(parameter) for parameter in model.parameter_groups()[update.group]}
    return [name for name, parameter in model.named_parameters() if id(parameter) in chosen]


def fast_step(model: Model, update: Update, batch: Batch) -> tuple[Losses, dict[str, Tensor | None]]:
    """Losses, and the gradient of every parameter; only parameters in the update's group can have one."""
    group = group_of(model, update)
    for name, parameter in model.named_parameters():
        parameter.grad = None
        parameter.requires_grad_(name in group)
    losses = update.loss(batch, StepContext())
    torch.stack([term.weight * term.mean for term in losses.values()]).sum().backward()
    return losses, {name: parameter.grad for name, parameter in model.named_parameters()}


def check(model: Model, batch: Batch, dtypes: Sequence[torch.dtype] = tuple(TOLERANCE)) -> None:
    """Check parts, weights and gradients of each update; the reference is computed once for all precisions."""
    for update in dict.fromkeys(model.phases()[0].updates):
        reference, group = plain(model), group_of(model, update)
        expected = plain_parts(reference, update, batch)
        total(expected).backward()
        slow = {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in reference.named_parameters()
        }
        largest = max(float(slow[name].abs().max()) for name in group)
        assert largest > 1e-3 or len(batch) == 1  # a single history has no negatives
        for dtype in dtypes:
            losses, fast = fast_step(model.to(dtype), update, batch)
            assert losses.keys() == expected.keys()
            for part, (weight, mean) in expected.items():
                assert losses[part].weight == pytest.approx(weight)
                close(losses[part].mean.detach(), mean.detach())
            assert fast.keys() == slow.keys()
            for name, gradient in fast.items():
                if name not in group:
                    assert gradient is None
                else:
                    zeros = torch.zeros_like(slow[name], dtype=dtype)
                    close(zeros if gradient is None else gradient, slow[name], 1e-3 * largest)


@pytest.mark.parametrize(("unit", "loss", "positions"), REGIMES)
def test_sasrec(unit: str, loss: str, positions: str) -> None:
    model = sasrec(unit=unit, loss=loss, positions=positions)
    check(model, batch_of(model))


@pytest.mark.parametrize(
    ("switches", "regime"), list(zip(SWITCHES, cycle(REGIMES), strict=False)), ids="-".join
)
def test_mclrec(switches: tuple[str, ...], regime: tuple[str, ...]) -> None:
    chosen = dict(zip(("unit", "loss", "positions"), regime, strict=True))
    chosen |= dict(zip(("updates", "regularizer", "mask"), switches, strict=True))
    model = mclrec(**chosen)
    check(model, batch_of(model))


@pytest.mark.parametrize(
    "ablation",
    [
        {"lambda": 0},
        {"beta": 0},
        {"gamma": 0},
        {"gamma": 0.7},
        {"lambda": 0, "beta": 0},
        {"shared_augmenter": True},
        {"layers": 1},
        {"layers": 3, "heads": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("unit", CHOICES["unit"])
def test_ablations_and_depths(ablation: dict[str, Any], unit: str) -> None:
    model = mclrec(unit=unit, **ablation)
    check(model, batch_of(model, size=5))


@pytest.mark.parametrize("unit", CHOICES["unit"])
def test_more_and_longer_histories(unit: str) -> None:
    """Covers several groups of similar length, and more targets than the softmax processes at once."""
    model = sasrec(unit=unit, max_length=20)
    lengths = np.random.default_rng(2).geometric(0.15, size=60).clip(2, 25).tolist()
    batch = batch_of(model, lengths, size=280)
    assert len(batch.targets) > 256
    check(model, batch)


@settings(max_examples=12)
@given(
    st.lists(st.integers(2, LONGEST + 3), min_size=1, max_size=5),
    st.integers(1, 6),
    st.fixed_dictionaries({key: st.sampled_from(values) for key, values in CHOICES.items()}),
    st.integers(0, 99),
)
def test_whatever_the_lengths(lengths: list[int], size: int, chosen: dict[str, Any], seed: int) -> None:
    model = mclrec(**chosen).double()
    check(model, batch_of(model, lengths, size, seed), [torch.float64])


def check_hidden(unit: str, views: list[list[int]]) -> None:
    model = mclrec(unit=unit, updates="joint")
    batch = batch_of(model, [4] * len(views), size=len(views))
    drawn = [Histories.of(Packed.of(rows)) for rows in (views, views[1:] + views[:1])]
    check(model, replace(batch, views=tuple(drawn)))


@pytest.mark.parametrize("unit", CHOICES["unit"])
def test_partly_hidden_histories(unit: str) -> None:
    check_hidden(unit, [[5, 0], [0, 5, 6], [0, 3, 0, 0, 7, 0], [4]])


@pytest.mark.parametrize("unit", CHOICES["unit"])
def test_wholly_hidden_histories(unit: str) -> None:
    check_hidden(unit, [[0, 0, 0], [1, 2, 0, 4], [0, 0, 0, 0, 0, 0]])


class Recording:
    """Records the batches that a phase collates."""

    def __init__(self, collate: Collate) -> None:
        self.batches, self._collate = list[Batch](), collate

    def __call__(self, examples: Examples, rows: IntArray, rng: np.random.Generator) -> Batch:
        self.batches.append(self._collate(examples, rows, rng))
        return self.batches[-1]


@pytest.mark.parametrize("updates", CHOICES["updates"])
@pytest.mark.parametrize("unit", CHOICES["unit"])
def test_the_trainer_takes_the_same_steps(
    updates: str, unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = {} if updates == "joint" else {"augmenter_learning_rate": 5e-3}
    model = mclrec(updates=updates, unit=unit, **rate).double()
    reference, usual = plain(model), model.phases()[0]
    recording = Recording(usual.collate)
    phase = replace(usual, collate=recording, validate=False)  # keeps the last weights
    monkeypatch.setattr(model, "phases", lambda: (phase,))
    size = 5 if unit == "prefixes" else 4
    Trainer(
        model,
        leave_one_out(ragged([5, 4, LONGEST + 2, 4])),
        TrainingConfig(precision="fp32", batch_size=size, epochs=2, learning_rate=1e-3),
        seed=4,
        directory=tmp_path,
        device=torch.device("cpu"),
        identity={},
    ).fit()
    parameters, rates = dict(reference.named_parameters()), {"augmenters": 5e-3}
    adam = {
        update.group: torch.optim.Adam(
            [parameters[name] for name in group_of(model, update)], rates.get(update.group, 1e-3)
        )
        for update in phase.updates
    }
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for batch in recording.batches:
        for update in phase.updates:
            reference.zero_grad()
            total(plain_parts(reference, update, batch)).backward()
            adam[update.group].step()
    for name, parameter in model.named_parameters():
        moved = float((parameters[name].detach() - before[name]).abs().max())
        assert moved > 1e-3
        torch.testing.assert_close(parameter.detach(), parameters[name].detach(), rtol=0, atol=1e-4 * moved)
