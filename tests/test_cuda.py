"""Training, ranking and recommending on a CUDA device give the CPU's results, without waits during training."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import tiny_data
from tests.test_model_contract import CASES, ESTIMATED, build

from mclrec.data.sequences import SequenceData
from mclrec.data.split import Split, leave_one_out
from mclrec.errors import TrainingError
from mclrec.evaluation.ranking import rank_targets
from mclrec.inference.model import Model
from mclrec.models.base import Recommender
from mclrec.models.storage import load_model, save_model
from mclrec.nn.dropout import Dropout
from mclrec.training import step_graphs
from mclrec.training.config import TrainingConfig
from mclrec.training.reporting import SilentReporter
from mclrec.training.steps import Steps
from mclrec.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class Watch(SilentReporter):
    """A reporter that keeps the losses of each step."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []

    def stepped(self, losses: dict[str, float]) -> None:
        self.losses.append(dict(losses))


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return tiny_data(users=90, items=40)


@pytest.fixture(scope="module")
def split(data: SequenceData) -> Split:
    return leave_one_out(data)


def fit(
    model: Recommender, split: Split, directory: Path, device: str, *, resume: bool = False, **settings: Any
) -> Watch:
    watch = Watch()
    config = TrainingConfig(**{"batch_size": 32, "epochs": 2, **settings})
    trainer = Trainer(
        model,
        split,
        config,
        seed=3,
        directory=directory,
        device=torch.device(device),
        identity={},
        reporter=watch,
    )
    trainer.fit(resume=resume)
    return watch


def undropped(model: Recommender, p: float = 0.0) -> Recommender:
    """Reduce dropout: with few units, all may be dropped, and LayerNorm of zeros has unbounded gradients."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = p
    return model


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_losses_and_ranks_are_those_of_the_cpu(
    name: str, variant: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    watches, models = {}, {}
    for device in ("cpu", "cuda"):
        (tmp_path / device).mkdir()
        models[device] = undropped(build(name, variant, split.training))
        watches[device] = fit(models[device], split, tmp_path / device, device)
    for there, here in zip(watches["cuda"].losses, watches["cpu"].losses, strict=True):
        assert there.keys() == here.keys()
        if not any(name == other for other, _ in ESTIMATED):
            assert there == pytest.approx(here, rel=2e-2, abs=1e-3)
    on_cuda = rank_targets(models["cuda"], split.test, seen="drop", device=torch.device("cuda"))
    on_cpu = rank_targets(models["cuda"].to("cpu"), split.test, seen="drop", device=torch.device("cpu"))
    assert np.mean(on_cuda == on_cpu) > 0.98


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_training_does_not_wait_for_the_device(
    name: str, variant: dict[str, Any], precision: str, split: Split, tmp_path: Path
) -> None:
    if not build(name, variant, split.training).phases():
        return
    steps = Waits()
    model = build(name, variant, split.training)
    watch_fit(steps, undropped(model, 0.1), split, tmp_path, precision)
    assert steps.batches > 1
    assert steps.most == 0, steps.places


class Waits:
    """Number and places of waits for the device, in batches after the first."""

    def __init__(self) -> None:
        self.most, self.places, self.batches = 0, set[str](), 0


def watch_fit(waits: Waits, model: Recommender, split: Split, directory: Path, precision: str) -> None:
    plain = Steps.run

    def watched(self: Steps, *arguments: Any) -> None:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                plain(self, *arguments)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        told = [
            f"{one.filename}:{one.lineno}"
            for one in found
            if "synchroniz" in str(one.message) and "torch/cuda" not in one.filename  # the mode itself
        ]
        waits.batches += 1
        if waits.batches > 1:  # one-time work happens in the first
            waits.most = max(waits.most, len(told))
            waits.places |= set(told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "run", watched)
        fit(model, split, directory, "cuda", precision=precision, epochs=1)


@pytest.mark.parametrize("name", ["sasrec", "mclrec", "bert4rec", "iclrec"])
def test_a_resumed_training_ends_where_an_undisturbed_one_does(
    name: str, split: Split, tmp_path: Path
) -> None:
    whole = build(name, {}, split.training)
    (tmp_path / "whole").mkdir()
    fit(whole, split, tmp_path / "whole", "cuda", epochs=3)
    (tmp_path / "parts").mkdir()
    fit(build(name, {}, split.training), split, tmp_path / "parts", "cuda", epochs=2)
    resumed = build(name, {}, split.training)
    fit(resumed, split, tmp_path / "parts", "cuda", epochs=3, resume=True)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], value, rtol=2e-2, atol=2e-3, msg=key)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["sasrec", "mclrec"])
def test_replayed_graphs_train_as_computed_steps(
    name: str, precision: str, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, whose seed each replay reads, a learning-rate cycle, and a resumption between epochs."""
    settings: dict[str, Any] = {"graphs": True, "precision": precision, "cycle": 2}
    found = {}
    for kind, warm_up in (("replayed", step_graphs.WARM_UP), ("computed", 10**9)):
        monkeypatch.setattr(step_graphs, "WARM_UP", warm_up)
        (tmp_path / kind).mkdir()
        model = build(name, {}, split.training)
        losses = fit(model, split, tmp_path / kind, "cuda", **settings).losses
        found[kind] = losses, model.state_dict()
    monkeypatch.undo()
    (tmp_path / "parts").mkdir()
    fit(build(name, {}, split.training), split, tmp_path / "parts", "cuda", **{**settings, "epochs": 1})
    resumed = build(name, {}, split.training)
    fit(resumed, split, tmp_path / "parts", "cuda", resume=True, **settings)
    assert len(found["replayed"][0]) > 3 * step_graphs.WARM_UP
    for one, other in zip(found["replayed"][0], found["computed"][0], strict=True):
        assert one == pytest.approx(other, rel=2e-2, abs=1e-3)
    for key, value in found["replayed"][1].items():
        for other in (found["computed"][1], resumed.state_dict()):
            torch.testing.assert_close(other[key], value, rtol=2e-2, atol=2e-3, msg=key)


def test_graphs_train_as_packed_steps_without_dropout(split: Split, tmp_path: Path) -> None:
    for name in ("sasrec", "mclrec"):
        losses = []
        for graphs in (True, False):
            directory = tmp_path / f"{name}-{graphs}"
            directory.mkdir()
            model = undropped(build(name, {}, split.training))
            losses.append(fit(model, split, directory, "cuda", graphs=graphs).losses)
        for one, other in zip(*losses, strict=True):
            assert one == pytest.approx(other, rel=2e-2, abs=1e-3)


def test_what_a_replayed_graph_draws_is_new_by_each_seed() -> None:
    """Dropout masks depend on the seed that was set before the replay, as in a computed step."""
    drop, recorder = Dropout(0.5).train(), step_graphs.CudaGraphs(torch.device("cuda"))
    x, out = torch.ones(1000, device="cuda"), torch.empty(1000, device="cuda")

    def work() -> None:
        out.copy_(drop(x))

    recorder.warm(work)
    replay = recorder.record(work)
    drawn = []
    for act in (replay, work):
        for seed in (1, 2, 1):
            torch.cuda.manual_seed_all(seed)
            act()
            drawn.append(out.clone())
    recorder.close()
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    assert all(torch.equal(one, other) for one, other in zip(drawn[:3], drawn[3:], strict=True))


def test_a_loss_that_is_not_finite_is_named_with_its_batch(split: Split, tmp_path: Path) -> None:
    model = build("mclrec", {}, split.training)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"not finite .* epoch 1, batch 1 "):
        fit(model, split, tmp_path, "cuda")


@pytest.mark.parametrize("name", ["mclrec", "bpr", "caser", "bert4rec", "markov", "itemknn", "ease"])
def test_a_model_loaded_on_the_device_recommends_what_it_does_on_the_cpu(
    name: str, data: SequenceData, tmp_path: Path
) -> None:
    model = build(name, {}, data)
    save_model(
        tmp_path, name=name, model=model, items=data.item_ids, counts=data.popularity, users=data.user_ids
    )
    asked = [[data.item_ids[item] for item in data.sequence(user)[:3].tolist()] for user in range(20)]
    lists = {}
    for device in ("cpu", "cuda"):
        loaded = Model.load(tmp_path, device=device)
        lists[device] = [[one.item for one in loaded.recommend(history, k=5)] for history in asked]
    same = [one == other for one, other in zip(lists["cpu"], lists["cuda"], strict=True)]
    assert np.mean(same) > 0.9


def test_weights_trained_on_the_device_load_without_one(split: Split, tmp_path: Path) -> None:
    model = build("mclrec", {}, split.training)
    (tmp_path / "run").mkdir()
    fit(model, split, tmp_path / "run", "cuda", epochs=1)
    data = split.data
    save_model(
        tmp_path / "model",
        name="mclrec",
        model=model,
        items=data.item_ids,
        counts=data.popularity,
        users=data.user_ids,
    )
    loaded = load_model(tmp_path / "model").model
    assert all(not value.is_cuda for value in loaded.state_dict().values())


def test_averaged_weights_resume(split: Split, tmp_path: Path) -> None:
    fit(build("sasrec", {}, split.training), split, tmp_path, "cuda", epochs=1, average=8.0)
    watch = fit(
        build("sasrec", {}, split.training), split, tmp_path, "cuda", epochs=2, average=8.0, resume=True
    )
    assert watch.losses


def test_a_large_catalogue_is_ranked_in_chunks(tmp_path: Path) -> None:
    data = tiny_data(users=300, items=30)
    wide = replace(data, name="wide")
    split = leave_one_out(wide)
    model = undropped(build("sasrec", {"unit": "sequences"}, split.training))
    fit(model, split, tmp_path, "cuda", batch_size=512, precision="bf16")
    ranks = rank_targets(model, split.test, seen="keep", device=torch.device("cuda"))
    assert len(ranks) == len(split.test.users)
