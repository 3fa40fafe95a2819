"""Train cases in one of several processes and write their outcomes. Request: a JSON file, see `main`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import socket
from threading import Lock
from typing import Any

import torch
from tests.helpers import tiny_data
from tests.training.stub import Recorder, real_trainer, timeless
from torch import Tensor

from mclrec.data.sequences import SequenceData
from mclrec.distributed.group import process_group
from mclrec.distributed.processes import SINGLE_PROCESS, Processes
from mclrec.distributed.shards import sharded
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import Recommender
from mclrec.recipes.shared_settings import combine_settings

Case = tuple[str, dict[str, Any]]
Outcome = dict[str, Any]

_BUILDING = Lock()
"""Held while building a model: initial weights come from torch's global generator, and processes may be threads."""


class _Losses(Recorder):
    """Records the running means of the losses at each step."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model)
        self.losses: list[dict[str, float]] = []

    def stepped(self, losses: dict[str, float]) -> None:
        super().stepped(losses)
        self.losses.append(dict(losses))


def outcome(
    case: Case, steps: int, directory: Path, processes: Processes = SINGLE_PROCESS, *, shard: bool = False
) -> Outcome:
    """Train in double precision without dropout, and return losses, validation, test ranks and weights.

    Args:
        case: model and settings.
        steps: least number of steps.
        directory: directory of the run.
        processes: the group that trains.
        shard: whether the item table, of 39 rows, is sharded.
    """
    name, settings = case
    data = tiny_data(users=29, items=37)
    off = {key: 0.0 for key in ("dropout", "attention_dropout") if key not in settings}
    with _BUILDING:
        sizes = _sizes(name, data, combine_settings(name, data.name, None, settings, off), steps)
        with sharded(processes if shard else SINGLE_PROCESS):
            trainer = real_trainer(name, data, directory, processes=processes, learning_rate=1e-2, **sizes)
    trainer.model.double()
    recorder = trainer._reporter = _Losses(trainer.model)
    fit = trainer.fit()
    ranks = rank_targets(trainer.model, trainer.split.test, seen="drop", processes=processes)
    return {
        "losses": recorder.losses,
        "history": [{**record, "losses": None} for record in timeless(fit.history)],
        "best": [fit.best_epoch, fit.best_value],
        "ranks": ranks.tolist(),
        "weights": {key: value.flatten().tolist() for key, value in _whole(trainer.model).items()},
    }


def _whole(model: Recommender) -> dict[str, Tensor]:
    """The state dict with the rows of all processes."""
    return {
        key: value if model.layout().is_whole(key) else model.shard.processes.all_gather(value)[0]
        for key, value in model.state_dict().items()
    }


def _sizes(name: str, data: SequenceData, settings: dict[str, Any], steps: int) -> dict[str, Any]:
    """Settings for at least `steps` steps with an odd batch size, chosen to leave a row or two for the last batch.

    Some processes then have no rows in that batch.
    """
    probe = real_trainer(name, data, Path(), **settings)
    examples = len(probe.model.phases()[-1].examples(probe.split.training))
    size = min(range(13, 4, -2), key=lambda size: (examples - 1) % size)
    return settings | {"batch_size": size, "epochs": -(-steps // -(-examples // size)), "patience": 99}


def start(words: Sequence[str], count: int, **streams: Any) -> list[subprocess.Popen[str]]:
    """Start ``python *words`` as ``count`` processes of one group."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **common, "RANK": str(rank)},
            cwd=Path(__file__).parents[2],
            text=True,
            **streams,
        )
        for rank in range(count)
    ]


def outcomes(
    cases: Mapping[str, Case], steps: int, count: int, folder: Path, *, shard: bool = False
) -> dict[str, list[Outcome]]:
    """The outcome of each case in each of ``count`` processes; see `outcome`."""
    (folder / "request.json").write_text(json.dumps({"cases": cases, "steps": steps, "shard": shard}))
    processes = start(["-m", "tests.distributed.several", str(folder)], count, stderr=subprocess.PIPE)
    told = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, [text[-500:] for text in told]
    everyone = [json.loads((folder / f"outcome-{rank}.json").read_text()) for rank in range(count)]
    return {name: [found[name] for found in everyone] for name in cases}


def main(folder: Path) -> None:
    """Train all cases of ``request.json`` and write ``outcome-RANK.json``."""
    request = json.loads((folder / "request.json").read_text())
    with process_group(torch.device("cpu")) as processes:
        found = {
            name: outcome(case, request["steps"], folder / f"run-{number}", processes, shard=request["shard"])
            for number, (name, case) in enumerate(request["cases"].items())
        }
        (folder / f"outcome-{processes.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
