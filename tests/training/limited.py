"""Train on prepared data in a process with little private memory: ``python -m tests.training.limited``."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from tests.helpers import tiny_data

from mclrec.data.sequences import SequenceData
from mclrec.data.split import leave_one_out
from mclrec.evaluation.ranking import rank_targets
from mclrec.recipes import resolve
from mclrec.runs.construction import build
from mclrec.training.reporting import SilentReporter
from mclrec.training.trainer import Trainer

_STEPS = 5
_SETTINGS = {
    "hidden_size": 8,
    "layers": 1,
    "heads": 1,
    "max_length": 10,
    "unit": "prefixes",
    "epochs": 1,
    "precision": "fp32",
}


class _Enough(Exception):
    """Enough steps are done."""


class _Steps(SilentReporter):
    def __init__(self) -> None:
        self.steps = 0

    def stepped(self, losses: dict[str, float]) -> None:
        self.steps += 1
        if self.steps == _STEPS:
            raise _Enough


def work(data: SequenceData) -> None:
    """Split the data, train for a few steps, and rank up to 1,000 targets."""
    split = leave_one_out(data)
    recipe = resolve("sasrec", "none", None, _SETTINGS)
    model = build(recipe, split.training, 1)
    reporter = _Steps()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            split,
            recipe.training,
            seed=1,
            directory=Path(folder),
            device=torch.device("cpu"),
            identity={},
            reporter=reporter,
        )
        with suppress(_Enough):
            trainer.fit()
    rank_targets(model, split.validation.take(np.arange(min(1000, len(split.validation)))), seen="drop")


def private_bytes() -> int:
    """Bytes that the kernel counts against `RLIMIT_DATA`: writable memory that is not backed by a file."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Arguments: the prepared data, and the bytes allowed beyond those of a first, small training."""
    folder, allowed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    work(tiny_data())
    limit = private_bytes() + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    data = SequenceData.load(folder)
    work(data)
    sys.stdout.write(json.dumps({"interactions": data.num_interactions}))


if __name__ == "__main__":
    main()
