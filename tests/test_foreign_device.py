"""Every model trains, ranks and recommends on the fake device, which refuses and waits as CUDA does."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.foreign_device import ForeignDevice, ForeignTensor, MixedDevicesError, foreign_device
from tests.helpers import mostly_slow, tiny_data
from tests.test_cuda import fit, undropped
from tests.test_model_contract import CASES, build

from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, leave_one_out
from mclrec.errors import TrainingError
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.ranking import evaluate, rank_targets
from mclrec.evaluation.reranking import ranker
from mclrec.experiments.kept_results import parts_to_measure
from mclrec.experiments.noise import measure_with_noise, noisy_part
from mclrec.inference.model import Model
from mclrec.models.base import Recommender
from mclrec.models.sequential import SequentialRecommender
from mclrec.models.storage import load_model, save_model
from mclrec.runs.earlier_ranks import earlier_ranks
from mclrec.training import loss_reader
from mclrec.training.loss_reader import LossReader
from mclrec.training.steps import Steps
from mclrec.training.trainer import Trainer

CUDA, HOST = torch.device("cuda"), torch.device("cpu")
BATCHES: dict[str, Any] = {"batch_size": 20, "epochs": 1}
SEEN: tuple[Seen, ...] = ("keep", "drop")
_FIRST, _END = -1, -2
DRAW = {"lma4rec", "srma"}
"""Models that draw from the dropout generator, which also draws the device's seed."""
STORED = ["mclrec", "sasrec", "bpr", "caser", "bert4rec", "markov", "itemknn", "ease"]


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return tiny_data(users=66, items=30, longest=5)


@pytest.fixture(scope="module")
def split(data: SequenceData) -> Split:
    return leave_one_out(data)


@pytest.fixture
def device() -> Iterator[ForeignDevice]:
    with foreign_device() as made:
        yield made


def stored(directory: Path, name: str, model: Recommender, data: SequenceData) -> None:
    save_model(
        directory, name=name, model=model, items=data.item_ids, counts=data.popularity, users=data.user_ids
    )


def first_items(data: SequenceData, count: int) -> list[Any]:
    return [data.item_ids[item] for item in range(1, count + 1)]


class TestTheDeviceItself:
    def test_operations_of_both_devices_are_refused(self, device: ForeignDevice) -> None:
        there, here = torch.ones(2, 3, device=CUDA), torch.ones(2, 3)
        operations: list[Callable[[], object]] = [
            lambda: there + here,
            lambda: here.add_(there),
            lambda: torch.cat([there, here]),
            lambda: there @ here.T,
            lambda: here[torch.tensor([0], device=CUDA)],
            lambda: there.gather(1, torch.zeros(2, 1, dtype=torch.int64)),
            lambda: torch.tensor(1.0).add_(there.sum()),
            lambda: there.index_put_((torch.tensor([0], device=CUDA),), torch.ones(3)),
            lambda: torch.nn.functional.embedding(torch.tensor([1]), there),
        ]
        for mixed in operations:
            with pytest.raises(MixedDevicesError):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()

    def test_numbers_of_the_host_are_arguments(self, device: ForeignDevice) -> None:
        there = torch.ones(2, 3, device=CUDA)
        assert isinstance(there + torch.tensor(2.0), ForeignTensor)
        assert isinstance(there.masked_fill(there > 0, torch.tensor(2.0)), ForeignTensor)
        assert device.waits == []

    def test_what_reads_back_is_counted(self, device: ForeignDevice) -> None:
        there = torch.arange(6.0, device=CUDA)
        for reading in (
            lambda: there[1].item(),
            lambda: bool(there[0] < 1),
            lambda: there.tolist(),
            lambda: there.cpu(),
            lambda: there.nonzero(),
            lambda: there[there > 2],
            lambda: there.unique(),
            lambda: there.masked_select(there > 2),
            lambda: there.repeat_interleave((there > 2).long()),
            lambda: torch.equal(there, there),
            lambda: there[torch.tensor([0, 1])],
            lambda: torch.ones(3).to(CUDA),
            lambda: torch.tensor([1.0], device=CUDA),
            lambda: there.copy_(torch.ones(6)),
        ):
            device.waits.clear()
            reading()
            assert len(device.waits) == 1, device.waits
        device.waits.clear()
        there[there > 2] = 0.0
        there.repeat_interleave(torch.ones(6, device=CUDA).long(), output_size=6)
        there.sort()
        torch.ones(3).pin_memory().to(CUDA, non_blocking=True)
        assert device.waits == []

    def test_a_copy_arrives_when_its_event_is_waited_for(self, device: ForeignDevice) -> None:
        copy = torch.empty(1, pin_memory=True).copy_(torch.ones(1, device=CUDA), non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        assert copy.item() != 1
        event.synchronize()
        assert copy.item() == 1


@pytest.mark.parametrize(
    ("name", "variant"), mostly_slow(CASES, [("mclrec", {}), ("bert4rec", {}), ("caser", {})])
)
def test_a_model_trains_and_ranks_without_waiting(
    name: str,
    variant: dict[str, Any],
    split: Split,
    tmp_path: Path,
    device: ForeignDevice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = undropped(build(name, variant, split.training))
    (tmp_path / "host").mkdir()
    expected = fit(here, split, tmp_path / "host", "cpu", average=4.0, **BATCHES).losses
    there = undropped(build(name, variant, split.training))
    monkeypatch.setattr(loss_reader, "_INTERVAL", 0.0)
    begun, waits = watched(monkeypatch, device), device.waits
    losses = fit(there, split, tmp_path, "cuda", average=4.0, **BATCHES).losses
    for one, other in zip(losses, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5) or name in DRAW
    of_batches = [waits[first:last] for first, last in itertools.pairwise(begun) if first >= 0 <= last]
    assert of_batches or not there.phases()
    for of_batch in of_batches:
        assert len(of_batch) == 1, of_batch
        assert of_batch[0].startswith("an event")
    waits.clear()
    ranks = [rank_targets(there, split.test, seen=seen) for seen in SEEN]
    assert len(waits) <= (8 if name in ("markov", "bert4rec", "itemknn", "ease") else 6), waits
    there.to(HOST)
    for seen, found in zip(SEEN, ranks, strict=True):
        assert found.tolist() == rank_targets(there, split.test, seen=seen).tolist()


def watched(patch: pytest.MonkeyPatch, device: ForeignDevice) -> list[int]:
    """Number of waits at the start of each batch; negative markers for the first batch of an epoch and for its end."""
    begun: list[int] = []
    updates, finish = Steps.run, Trainer._finish_epoch

    def run(self: Steps, *arguments: Any) -> None:
        begun.append(len(device.waits) if begun and begun[-1] != _END else _FIRST)
        updates(self, *arguments)

    def finished(self: Trainer, *arguments: Any) -> None:
        begun.append(_END)
        finish(self, *arguments)

    patch.setattr(Steps, "run", run)
    patch.setattr(Trainer, "_finish_epoch", finished)
    return begun


@pytest.mark.parametrize("name", ["mclrec", "sasrec"])
def test_bf16_takes_the_same_way(name: str, split: Split, tmp_path: Path, device: ForeignDevice) -> None:
    model = build(name, {}, split.training)
    assert fit(model, split, tmp_path, "cuda", precision="bf16", **BATCHES).losses


def test_values_are_read_once_an_interval(device: ForeignDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    now, seen = 0.0, list[object]()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reader = LossReader(interval=1.0)
    for batch in range(12):
        now += 0.3
        for update in range(3):
            reader.add(torch.full((2,), 10.0 * batch + update, device=CUDA), seen.append)
        reader.end_batch(partial(seen.append, batch))
        reader.keep_up()
    assert 2 <= len(device.waits) <= 3
    assert 0 < len(seen) < 48
    reader.catch_up()
    assert seen == [
        entry for batch in range(12) for entry in (*([10.0 * batch + n] * 2 for n in range(3)), batch)
    ]


def test_a_loss_that_is_not_finite_is_named_with_its_batch(
    split: Split, tmp_path: Path, device: ForeignDevice
) -> None:
    model = build("sasrec", {}, split.training)
    assert isinstance(model, SequentialRecommender)
    plain, batches = model.loss, itertools.count(1)

    def loss(*arguments: Any) -> Any:
        losses = plain(*arguments)
        if next(batches) >= 3:
            losses["rec"].sum.mul_(torch.inf)
        return losses

    model.loss = loss  # type: ignore[assignment]
    with pytest.raises(TrainingError, match=r"update 'all' is not finite .* epoch 1, batch 3 "):
        fit(model, split, tmp_path, "cuda", **BATCHES)
    assert next(batches) > 4  # training continued until the values were read


@pytest.mark.parametrize("name", mostly_slow(["mclrec", "bert4rec", "iclrec"], ["bert4rec"]))
def test_a_resumed_training_ends_where_an_undisturbed_one_does(
    name: str, split: Split, tmp_path: Path, device: ForeignDevice
) -> None:
    models = []
    for folder, parts in (("whole", (2,)), ("parts", (1, 2))):
        (tmp_path / folder).mkdir()
        for number, epochs in enumerate(parts):
            model = undropped(build(name, {}, split.training))
            settings = {**BATCHES, "epochs": epochs, "average": 4.0}
            fit(model, split, tmp_path / folder, "cuda", resume=number > 0, **settings)
        models.append(model.to(HOST).state_dict())
    for key, value in models[0].items():
        assert torch.equal(models[1][key], value), key


@pytest.mark.parametrize("name", mostly_slow(STORED, ["sasrec", "itemknn"]))
def test_a_model_loaded_on_the_device_answers_as_on_the_host(
    name: str, data: SequenceData, tmp_path: Path, device: ForeignDevice
) -> None:
    stored(tmp_path, name, build(name, {}, data), data)
    asked = [[data.item_ids[item] for item in data.sequence(user)[:3].tolist()] for user in range(9)]
    here, there = Model.load(tmp_path), Model.load(tmp_path, device="cuda")
    for history in asked:
        answers = [
            [
                (one.item, pytest.approx(one.score, abs=1e-5))
                for one in model.recommend(history, k=5, allow=allowed, exclude=asked[0][:1])
            ]
            for model in (here, there)
            for allowed in (None, first_items(data, 8))
        ]
        assert [[item for item, _ in one] for one in answers[:2]] == [
            [item for item, _ in one] for one in answers[2:]
        ]
    assert device.waits  # the answers came from the device


def test_a_model_explains_and_compares_on_the_device(
    data: SequenceData, tmp_path: Path, device: ForeignDevice
) -> None:
    stored(tmp_path, "mclrec", build("mclrec", {}, data), data)
    history = [data.item_ids[item] for item in data.sequence(0)[:3].tolist()]
    here, there = Model.load(tmp_path), Model.load(tmp_path, device="cuda")
    for one, other in zip(
        here.explain(history, first_items(data, 2)), there.explain(history, first_items(data, 2)), strict=True
    ):
        assert one.score == pytest.approx(other.score, abs=1e-5)
    assert [one.item for one in here.similar(history[0])] == [one.item for one in there.similar(history[0])]


@pytest.mark.parametrize("seen", SEEN)
def test_what_validation_chooses_is_ranked_on_the_device(
    seen: Seen, split: Split, device: ForeignDevice
) -> None:
    model = build("sasrec", {"repeat_bias": True, "co_occurrence": 3.0}, split.training)
    for part in (model.repeats, model.co_occurrence):
        assert part is not None
        here = ranker(model.to(HOST), split.validation, part, seen=seen, cut=10, device=HOST)()
        there = ranker(model.to(CUDA), split.validation, part, seen=seen, cut=10, device=CUDA)()
        assert here.tolist() == there.tolist()
    assert device.waits


def test_noise_is_measured_where_the_model_is(split: Split, tmp_path: Path, device: ForeignDevice) -> None:
    stored(tmp_path, "mclrec", build("mclrec", {}, split.training), split.data)
    measure_with_noise(tmp_path, split, 0.2, seed=1)
    assert not parts_to_measure(tmp_path, [noisy_part(0.2)])
    assert device.waits


def test_an_earlier_model_is_ranked_on_the_device(
    split: Split, tmp_path: Path, device: ForeignDevice
) -> None:
    stored(tmp_path, "sasrec", build("sasrec", {}, split.training), split.data)
    ranks = [
        earlier_ranks(load_model(tmp_path, place), split.test, "drop", place).tolist()
        for place in (CUDA, HOST)
    ]
    assert ranks[0] == ranks[1]


def test_a_model_is_evaluated_and_stored_from_the_device(
    split: Split, tmp_path: Path, device: ForeignDevice
) -> None:
    model = build("mclrec", {}, split.training).to(CUDA)
    result = evaluate(model, split, name="mclrec")
    stored(tmp_path, "mclrec", model, split.data)
    loaded = load_model(tmp_path).model
    assert not any(isinstance(value, ForeignTensor) for value in loaded.state_dict().values())
    assert np.array_equal(evaluate(loaded, split, name="mclrec").ranks, result.ranks)
