"""Files of finished runs in results/: each is a row of the pages, with everything that its numbers depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mclrec.data.datasets import named_by
from mclrec.json_files import write_json
from mclrec.runs.run import LABELS, DataInfo, Run
from scripts.leaderboard import RANKS
from scripts.rank_files import publish_ranks
from scripts.row_commands import decided_command, portable_command, portable_place
from scripts.row_identity import recorded_sizes, row_name

OF_RECORD = (
    "status",
    "best_epoch",
    "best_validation",
    "epochs",
    "training_seconds",
    "seconds",
    "device",
    "processor",
    "threads",
)
"""Keys of a run's record that are published: how its training ended, how long it took, and on what machine."""

_OF_RUN = (
    "model",
    "command",
    "seed",
    "split",
    "warm_start",
    "recipe",
    "config",
    "training",
    "data",
    "versions",
)


def publish_run(directory: Path, folder: Path, *, ranks: bool = False) -> Path:
    """Publish one run as a JSON file: its results, and everything that they depend on.

    Args:
        directory: directory of the run.
        folder: folder of the results.
        ranks: whether to publish its exact test ranks too, in ``ranks`` beside it.

    Raises:
        MclrecError: the run cannot be a row of the results, or its settings differ from that row's; nothing is written.
    """
    run = Run(directory)
    name = row_name(run, folder)
    info, record = run.info.model_dump(mode="json"), run.record.model_dump(mode="json")
    path = folder / f"{name}-seed{info['seed']}.json"
    row = {
        **{key: info[key] for key in _OF_RUN},
        "data": data_of(run.info.data),
        **recorded_sizes(run),
        **{key: record[key] for key in OF_RECORD if key in record},
        "protocols": {label: record["results"]["test"][label]["protocol"]["description"] for label in LABELS},
        "test": run.metrics,
        "validation": [epoch["metrics"] for epoch in run.history],
    }
    command = portable_command(info["command"], path.stem, run.info.data)
    write_json(path, {**row, "command": decided_command(command, row)})
    for label in LABELS if ranks else ():
        publish_ranks(run, label, folder / RANKS / f"{path.stem}-{label}.parquet")
    return path


def data_of(data: DataInfo) -> dict[str, Any]:
    """The data of a run, without the paths of this machine."""
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "source": named_by(data.fingerprint) or portable_place(data.place),
        "options": data.reading.model_dump(mode="json", exclude_defaults=True),
    }
