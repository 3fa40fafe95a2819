"""Builds RecBole's SASRec with the sizes and the split that we use.

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


def build(request: Request) -> tuple[Any, Any, Any, Any]:
    """Build RecBole's configuration, training batches, test batches and model.

    Request: ``inter`` (file), ``batch``, ``max_length``, ``cuts``, ``seed``, ``scratch``, and optionally
    ``evaluation_batch`` instead of RecBole's own.
    """
    for name, kind in _REMOVED.items():
        if name not in vars(np):
            setattr(np, name, kind)
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, init_seed

    os.chdir(request["scratch"])  # it leaves logs where it is run
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
            "metrics": ["Hit", "NDCG"],
            "topk": list(request["cuts"]),
            "valid_metric": "NDCG@10",
            "train_neg_sample_args": None,
            "MAX_ITEM_LIST_LENGTH": request["max_length"],
            "train_batch_size": request["batch"],
            **({"eval_batch_size": request["evaluation_batch"]} if "evaluation_batch" in request else {}),
            "use_gpu": False,
            "state": "WARNING",
            "show_progress": False,
            "seed": request["seed"],
        },
    )
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    training, _, test = data_preparation(config, dataset)
    model = get_model(config["model"])(config, training.dataset).to(config["device"])
    return config, training, test, model
