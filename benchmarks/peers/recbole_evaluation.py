"""RecBole's full-sort evaluation of the test part. Request: as `recbole_setup.build`, and as `child.turns`."""

from __future__ import annotations

import time

import torch

from benchmarks.child import Document, Request, answer, turns, versions
from benchmarks.peers.recbole_setup import build

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    from recbole.utils import get_trainer

    config, _, _, test, model = build(request)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    seconds = []
    for _ in turns(request):
        started = time.perf_counter()
        metrics = trainer.evaluate(test, load_best_model=False, show_progress=False)
        seconds.append(round(time.perf_counter() - started, 6))
    layer = model.trm_encoder.layer[0]
    return {
        "work": {
            "users": len(test.dataset),
            "items": model.n_items - 1,
            "cuts": list(config["topk"]),
            "max_length": model.max_seq_length,
            "hidden_size": model.hidden_size,
            "layers": len(model.trm_encoder.layer),
            "heads": layer.multi_head_attention.num_attention_heads,
            "inner_size": layer.feed_forward.dense_1.out_features,
        },
        "batch": config["eval_batch_size"],
        "dtype": "fp32",
        "threads": torch.get_num_threads(),
        "versions": versions(["recbole", "torch", "numpy", "pandas"]),
        "metrics": {name: float(value) for name, value in metrics.items()},
        "pass_seconds": seconds,
    }


if __name__ == "__main__":
    answer(measure)
