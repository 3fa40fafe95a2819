"""The training loop: what it minimises, when it stops, which weights it keeps, and the order of its calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import at_random_times, tiny_data
from tests.training.stub import Recorder, Stub, marching, real_trainer, same, stage, stub_trainer, weights
from torch import Tensor

from mclrec.data.sequences import SequenceData
from mclrec.data.split import by_time_quantiles, leave_one_out
from mclrec.errors import DataError, TrainingError
from mclrec.models import registry
from mclrec.models.phases import Update
from mclrec.training.optimisers import Optimisers
from mclrec.training.validation import Validator

REAL: list[tuple[str, dict[str, Any]]] = [
    ("sasrec", {}),
    ("sasrec", {"unit": "sequences", "loss": "bce"}),
    ("mclrec", {}),
    ("mclrec", {"unit": "sequences", "updates": "two"}),
]


@pytest.mark.parametrize(("name", "settings"), REAL)
def test_losses_fall_and_the_order_is_learnt(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    options = settings | {"learning_rate": 0.01, "dropout": 0, "attention_dropout": 0, "epochs": 6}
    if "unit" in settings:
        options["batch_size"] = 4  # fewer examples, similar number of steps
    fit = real_trainer(name, tiny_data(), tmp_path, **options).fit()
    first, last = fit.history[0], fit.history[-1]
    assert all(last.losses[part] < value for part, value in first.losses.items() if part.endswith("rec"))
    assert fit.best_value is not None
    assert fit.best_value > 0.4  # .22 by chance
    assert not fit.interrupted


@pytest.mark.parametrize("name", ["sasrec", "mclrec"])
def test_the_seed_decides_all_weights(name: str, tmp_path: Path) -> None:
    def trained(seed: int, place: str) -> dict[str, Tensor]:
        trainer = real_trainer(name, tiny_data(), tmp_path / place, seed=seed, epochs=1)
        trainer.fit()
        return weights(trainer.model)

    first = trained(1, "a")
    torch.manual_seed(99)  # must have no influence
    assert same(first, trained(1, "b"))
    assert not same(first, trained(2, "c"))


def test_bf16_trains_in_other_numbers_and_keeps_fp32_weights(tmp_path: Path) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        trainer = real_trainer("mclrec", tiny_data(), tmp_path / precision, precision=precision, epochs=1)
        fit = trainer.fit()
        assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())
        found[precision] = fit.history[0].losses
    assert found["bf16"] != found["fp32"]
    assert found["bf16"] == pytest.approx(found["fp32"], rel=0.05)


# ------------------------------------------------------------------------- early stopping


@pytest.mark.parametrize(
    ("ranks", "patience", "ran", "best"),
    [
        ([5, 4, 3, 2, 1, 1], 2, 6, 5),  # an equal metric is not better
        ([3, 4, 5, 2, 6, 6], 2, 3, 1),  # stops before it would have improved
        ([3, 4, 5, 2, 6, 6], 3, 6, 4),
        ([4, 5, 3, 5, 5, 5, 1], 3, 6, 3),
        ([12, 12, 12, 12], 2, 3, 1),  # a metric of zero counts as the first best
        ([2, 1], 10, 2, 2),
    ],
)
def test_stops_after_patience_and_keeps_the_best_weights(
    ranks: list[int], patience: int, ran: int, best: int, tmp_path: Path
) -> None:
    data = marching()
    model = Stub(data, ranks)
    recorder = Recorder(model)
    fit = stub_trainer(model, data, tmp_path, recorder, epochs=len(ranks), patience=patience).fit()
    values = [1 / rank if rank <= 10 else 0.0 for rank in ranks[:ran]]
    assert [record.metrics["mrr@10"] for record in fit.history] == pytest.approx(values)
    assert fit.best_epoch == best
    assert fit.best_value == pytest.approx(values[best - 1])
    assert [record.best for record in fit.history] == [
        value > max(values[:place], default=-1) for place, value in enumerate(values)
    ]
    assert same(weights(model), recorder.weights[best - 1])
    assert ran == best or not same(weights(model), recorder.weights[-1])


def test_history_has_a_line_an_epoch_with_mean_losses(tmp_path: Path) -> None:
    data = marching()
    model = Stub(data, [3, 2, 1])
    recorder = Recorder(model)
    fit = stub_trainer(model, data, tmp_path, recorder, epochs=3).fit()
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"], line["best"]) for line in lines] == [
        ("train", epoch, True) for epoch in (1, 2, 3)
    ]
    assert [line["metrics"] for line in lines] == [{"mrr@10": pytest.approx(1 / rank)} for rank in (3, 2, 1)]
    assert all(line["seconds"] > 0 for line in lines)
    assert list(fit.history) == recorder.records
    assert recorder.started == [("train", epoch, 4, 0) for epoch in (1, 2, 3)]
    assert recorder.steps == 12
    # Training targets are 2 and 3, equally often; the walker moves from 0 by less than 3 x .001 per step.
    assert lines[0]["losses"] == {"far": pytest.approx(100**2 * 2.5, rel=1e-3)}


# --------------------------------------------------------------------------------- phases


def test_phases_run_in_order_and_hooks_are_called_in_order(tmp_path: Path) -> None:
    data = marching()
    model = Stub(data, [9, 1, 5])
    model.stages = (
        stage("before", Update(model.walk, "walker"), epochs=2, validate=False),
        stage("train", Update(model.walk, "walker"), Update(model.stray, "other")),
    )
    recorder = Recorder(model)
    fit = stub_trainer(model, data, tmp_path, recorder, epochs=3).fit()
    assert model.calls == [f"fit {6 * 3}", "before", "epoch 1", "epoch 2", "train"] + [
        f"epoch {epoch}" for epoch in (1, 2, 3)
    ]
    assert [(record.phase, record.epoch) for record in fit.history] == [("before", 1), ("before", 2)] + [
        ("train", epoch) for epoch in (1, 2, 3)
    ]
    assert [record.metrics for record in fit.history[:2]] == [{}, {}]
    assert [set(record.losses) for record in fit.history] == [{"far"}] * 2 + [
        {"walker/far", "other/apart"}
    ] * 3
    # A phase without validation passes on its last weights, one with validation its best.
    assert float(recorder.weights[1]["walker"]) < float(recorder.weights[2]["walker"])
    assert fit.best_epoch == 2
    assert same(weights(model), recorder.weights[3])


def test_a_validated_phase_hands_its_best_weights_to_the_next(tmp_path: Path) -> None:
    data = marching()
    model = Stub(data, [1, 5, 5])
    model.stages = (
        stage("first", Update(model.walk, "walker")),
        stage("second", Update(model.stray, "other"), epochs=1, validate=False),
    )
    recorder = Recorder(model)
    fit = stub_trainer(model, data, tmp_path, recorder, epochs=3).fit()
    assert [record.phase for record in fit.history] == ["first"] * 3 + ["second"]
    assert torch.equal(model.walker, recorder.weights[0]["walker"])
    assert torch.equal(model.other, recorder.weights[-1]["other"])
    assert model.other.abs() > 0
    assert (fit.best_epoch, fit.best_value) == (0, None)


def test_a_model_without_phases_is_only_fitted(tmp_path: Path) -> None:
    fit = real_trainer("popularity", tiny_data(), tmp_path).fit()
    assert (list(fit.history), fit.best_epoch) == ([], 0)
    assert fit.best_value is not None  # a search compares settings using it
    assert not list(tmp_path.iterdir())


def test_training_histories_of_one_item_are_no_examples(tmp_path: Path) -> None:
    data = tiny_data(shortest=3, longest=3)
    with pytest.raises(DataError, match=r"^tiny: no training example"):
        real_trainer("sasrec", data, tmp_path).fit()


# -------------------------------------------------------------------------------- updates


@pytest.mark.parametrize(("name", "settings"), REAL)
def test_an_update_moves_its_group_alone_and_its_graph_ends_there(
    name: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = real_trainer(name, tiny_data(), tmp_path, epochs=1, **settings)
    model = trainer.model
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    groups = {
        group: {names[id(parameter)] for parameter in parameters}
        for group, parameters in model.parameter_groups().items()
    }
    step: Callable[[Optimisers, str, Tensor], None] = Optimisers.step
    order: list[str] = []

    def watched(self: Optimisers, group: str, loss: Tensor) -> None:
        order.append(group)
        assert {names[id(leaf)] for leaf in _leaves(loss)} == groups[group]
        before = weights(model)
        step(self, group, loss)
        moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert moved
        assert moved <= groups[group]
        assert all(parameter.grad is None for parameter in model.parameters())

    monkeypatch.setattr(Optimisers, "step", watched)
    trainer.fit()
    cycle = [update.group for update in model.phases()[0].updates]
    assert order == cycle * (len(order) // len(cycle))


def test_the_encoder_builds_no_graph_in_the_augmenters_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = real_trainer("mclrec", tiny_data(), tmp_path, epochs=1)
    model: Any = trainer.model
    encode, reach = model.encoder.encode, Optimisers.reach_only
    group, seen = "", set()

    def reaching(self: Optimisers, name: str) -> None:
        nonlocal group
        group = name
        reach(self, name)

    def encoding(*args: Any, **options: Any) -> Tensor:
        states: Tensor = encode(*args, **options)
        if group:
            seen.add((group, states.requires_grad))
        return states

    monkeypatch.setattr(Optimisers, "reach_only", reaching)
    monkeypatch.setattr(model.encoder, "encode", encoding)
    with monkeypatch.context() as patch:
        patch.setattr(Validator, "measure", lambda _: 0.0)
        trainer.fit()
    assert seen == {("encoder", True), ("augmenters", False)}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    data = marching()
    model = Stub(data, [1, 1, 1], bad=4 + 3)
    before = []

    class Reporter(Recorder):
        def stepped(self, losses: dict[str, float]) -> None:
            before.append(model.walker.item())

    with pytest.raises(TrainingError) as caught:
        stub_trainer(model, data, tmp_path, Reporter(model), epochs=3).fit()
    message = str(caught.value)
    assert "update 'walker'" in message
    assert "phase 'train', epoch 2, batch 3 (far inf)" in message
    assert "\n" not in message
    assert model.walker.item() == before[-1]  # the bad gradient was not applied


def test_weights_that_the_last_step_of_an_epoch_made_infinite(tmp_path: Path) -> None:
    data = marching()
    model = Stub(data, [1, 1, 1])

    class Reporter(Recorder):
        def stepped(self, losses: dict[str, float]) -> None:
            super().stepped(losses)
            if self.steps == self.started[0][2]:
                with torch.no_grad():
                    model.walker.fill_(torch.inf)

    with pytest.raises(
        TrainingError, match="the weights are not finite after epoch 1: lower the learning rate"
    ):
        stub_trainer(model, data, tmp_path, Reporter(model), epochs=3).fit()


# ----------------------------------------------------------------------------------- leaks


@pytest.mark.parametrize("split", [leave_one_out, by_time_quantiles])
@pytest.mark.parametrize(
    ("name", "settings"),
    [*REAL, ("sasrec", {"co_occurrence": 4.0, "repeat_bias": True}), ("cooccurrence", {}), ("itemknn", {})],
)
def test_held_out_items_do_not_reach_training(
    name: str, settings: dict[str, Any], split: Any, tmp_path: Path
) -> None:
    data = at_random_times(tiny_data())
    trained = []
    for place, log in enumerate((data, _poisoned(data, split(data).training.lengths))):
        length: dict[str, Any] = {} if registry.entry(name).only_counts else {"epochs": 1}
        trainer = real_trainer(name, data, tmp_path / str(place), **length, **settings)
        trainer.split = split(log)
        losses = [epoch.losses for epoch in trainer.fit().history]
        trained.append((trainer.model.state_dict(), losses))
    assert trained[0][1] == trained[1][1]
    assert same(trained[0][0], trained[1][0])


def _poisoned(data: SequenceData, kept: Any) -> SequenceData:
    """The data with the item of every interaction after a user's first ``kept`` ones replaced by another."""
    place = np.arange(data.num_interactions) - np.repeat(data.offsets[:-1], data.lengths)
    held_out = place >= np.repeat(kept, data.lengths)
    assert held_out.any()
    return replace(data, items=np.where(held_out, data.items % data.num_items + 1, data.items))


def _leaves(loss: Tensor) -> list[Tensor]:
    """Leaf tensors of the autograd graph of ``loss``."""
    found, seen, open_nodes = [], set(), [loss.grad_fn]
    while open_nodes:
        node: Any = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        open_nodes += [parent for parent, _ in node.next_functions]
    return found
