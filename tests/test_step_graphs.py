"""Steps of one shape, recorded on the fake device as a CUDA graph records them, train as computed steps do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.foreign_device import ForeignDevice, RecordingError, foreign_device
from tests.helpers import mostly_slow, tiny_data
from tests.test_cuda import fit, undropped
from tests.test_model_contract import CASES, build
from torch import Tensor

from mclrec.data.batches import Batch
from mclrec.data.split import Split, leave_one_out
from mclrec.models.base import Recommender
from mclrec.models.phases import Losses, StepContext, Term
from mclrec.models.sequential import SequentialRecommender
from mclrec.training import step_graphs
from mclrec.training.steps import Steps

SETTINGS: dict[str, Any] = {"batch_size": 4, "epochs": 1}
HOST = torch.device("cpu")


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(tiny_data(users=16, items=12, longest=7))


def of_one_shape(name: str, variant: dict[str, Any]) -> bool:
    phases = build(name, variant, tiny_data()).phases()
    return bool(phases) and not any(phase.varies for phase in phases)


SUPPORTED = [case for case in [*CASES, ("cl4srec", {})] if of_one_shape(*case)]


def weights(model: Recommender) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.to(HOST).state_dict().items()}


def trained(
    name: str,
    variant: dict[str, Any],
    split: Split,
    directory: Path,
    change: Callable[[Recommender], Recommender] = lambda model: model,
    counts: list[int] | None = None,
    **settings: Any,
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Losses and weights; ``counts`` receives the number of operations launched on the device for each full batch."""
    directory.mkdir(exist_ok=True)
    with foreign_device() as device, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "run", counting(device, [] if counts is None else counts))
        model = change(build(name, variant, split.training))
        losses = fit(model, split, directory, "cuda", **{**SETTINGS, **settings}).losses
        return losses, weights(model)


def counting(device: ForeignDevice, counts: list[int]) -> Callable[..., None]:
    plain = Steps.run

    def run(self: Steps, batch: Batch, *arguments: Any) -> None:
        before, waits = device.given(), len(device.waits)
        plain(self, batch, *arguments)
        if len(batch) == SETTINGS["batch_size"]:
            counts.append(device.given() - before)
            assert len(device.waits) == waits or len(counts) == 1  # one-time work is in the first

    return run


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_is_supported_is_what_the_documents_say() -> None:
    assert {name for name, _ in SUPPORTED} == {
        "bsarec", "cl4srec", "duorec", "hstu", "mclrec", "s3rec", "sasrec",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "variant"), mostly_slow(SUPPORTED, [("mclrec", {}), ("sasrec", {})]))
def test_replayed_steps_train_as_computed_ones(
    name: str, variant: dict[str, Any], split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit-identical, with dropout, a smaller last batch and changing learning rates."""
    counts = list[int]()
    settings: dict[str, Any] = {"graphs": True, "cycle": 1, "average": 4.0}
    replayed = trained(name, variant, split, tmp_path / "replayed", counts=counts, **settings)
    updates = len(build(name, variant, split.training).phases()[0].updates)
    assert set(counts[step_graphs.WARM_UP + 1 :]) == {updates}  # the means of each, copied
    assert counts[step_graphs.WARM_UP] > 50
    monkeypatch.setattr(step_graphs, "WARM_UP", 10**9)
    computed = trained(name, variant, split, tmp_path / "computed", **settings)
    assert replayed[0] == computed[0]
    assert same(replayed[1], computed[1])


@pytest.mark.parametrize(
    ("name", "variant"), mostly_slow([("sasrec", {}), ("mclrec", {}), ("duorec", {})], [("sasrec", {})])
)
def test_they_train_as_packed_ones_without_dropout(
    name: str, variant: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    graphs, packed = (
        trained(name, variant, split, tmp_path / str(graphs), undropped, graphs=graphs)[0]
        for graphs in (True, False)
    )
    for one, other in zip(graphs, packed, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", mostly_slow(["sasrec", "mclrec"], ["sasrec"]))
def test_a_resumed_training_ends_where_an_undisturbed_one_does(
    name: str, split: Split, tmp_path: Path
) -> None:
    _, whole = trained(name, {}, split, tmp_path / "whole", graphs=True, epochs=2)
    trained(name, {}, split, tmp_path / "parts", graphs=True)
    _, parts = trained(name, {}, split, tmp_path / "parts", graphs=True, epochs=2, resume=True)
    assert same(whole, parts)


@pytest.mark.parametrize("name", ["sasrec", "mclrec"])
def test_bf16_takes_the_same_way(name: str, split: Split, tmp_path: Path) -> None:
    assert trained(name, {}, split, tmp_path, graphs=True, precision="bf16")[0]


def test_steps_of_packed_histories_are_not_recorded(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording must fail, because the packed layout is computed on the host."""
    monkeypatch.setattr(step_graphs.GraphedSteps, "width", property(lambda _: None, lambda *_: None))
    monkeypatch.setattr(Batch, "each", lambda batch, _: batch)
    monkeypatch.setattr(step_graphs.GraphedSteps, "_fits", lambda *_: True)
    monkeypatch.setattr(torch, "_foreach_copy_", lambda *_: None)
    with pytest.raises(RecordingError, match="a copy between the devices while the device records"):
        trained("sasrec", {}, split, tmp_path, graphs=True)


def test_a_number_of_the_host_stays_what_it_was(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changing Python number in a loss is replayed with its recorded value, and the comparison detects it."""

    def drifting(model: Recommender) -> Recommender:
        assert isinstance(model, SequentialRecommender)
        plain, uses = model.loss, iter(range(10**6))

        def loss(batch: Batch, context: StepContext) -> Losses:
            term = plain(batch, context)["rec"]
            return {"rec": Term(term.sum * (1 + next(uses)), term.count)}

        model.loss = loss  # type: ignore[method-assign]
        return model

    replayed = trained("sasrec", {}, split, tmp_path / "replayed", drifting, graphs=True)
    monkeypatch.setattr(step_graphs, "WARM_UP", 10**9)
    computed = trained("sasrec", {}, split, tmp_path / "computed", drifting, graphs=True)
    assert not same(replayed[1], computed[1])
