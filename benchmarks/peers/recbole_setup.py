"""Build RecBole's SASRec with the sizes and the split that we use.

RecBole 1.2.1 restores the NumPy names that it needs (``np.float`` and so on) when its configuration is made. They are
restored here before it is imported, because some of its modules use them on import.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import Request

__all__ = ["build"]

_REMOVED = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str}
"""Aliases that NumPy 1.24 removed."""

_OPTIONAL = {
    "cuts": "topk",
    "batch": "train_batch_size",
    "max_length": "MAX_ITEM_LIST_LENGTH",
    "evaluation_batch": "eval_batch_size",
    "epochs": "epochs",
}
"""Keys of a request, and RecBole's setting for each."""


def build(request: Request) -> tuple[Any, Any, Any, Any, Any]:
    """Build RecBole's configuration, its batches for training, validation and test, and its model.

    Request: ``inter`` (file), ``seed``, ``scratch``, and optionally, to override RecBole's defaults, ``batch``,
    ``max_length``, ``cuts`` (then only HR and NDCG are measured), ``evaluation_batch`` and ``epochs``.
    """
    for name, kind in _REMOVED.items():
        if name not in vars(np):
            setattr(np, name, kind)
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, init_seed

    os.chdir(request["scratch"])  # RecBole writes logs into the working directory
    file = Path(request["inter"])
    config = Config(
        model="SASRec",
        dataset=file.stem,
        config_dict={
            "data_path": str(file.parent.parent),
            "checkpoint_dir": request["scratch"],
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {
                "split": {"LS": "valid_and_test"},
                "order": "TO",
                "group_by": "user",
                "mode": "full",
            },
            "train_neg_sample_args": None,
            **({"metrics": ["Hit", "NDCG"], "valid_metric": "NDCG@10"} if "cuts" in request else {}),
            **{name: request[key] for key, name in _OPTIONAL.items() if key in request},
            "use_gpu": False,
            "state": "WARNING",
            "show_progress": False,
            "seed": request["seed"],
        },
    )
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    training, validation, test = data_preparation(config, dataset)
    model = get_model(config["model"])(config, training.dataset).to(config["device"])
    return config, training, validation, test, model
