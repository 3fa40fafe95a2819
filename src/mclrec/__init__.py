"""Sequential recommendation by meta-optimised contrastive learning (MCLRec).

    data = mclrec.load("beauty")
    run = mclrec.train(data, model="mclrec", beta=0.05)
    run.metrics["U"]["HR@20"]
    model = mclrec.Model.load(run.directory)
    model.recommend(["11", "42"], k=10)

Importing this package imports neither torch nor anything else that is slow; names are fetched when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mclrec.errors import MclrecError, MclrecWarning

if TYPE_CHECKING:
    from mclrec.api import (
        Columns,
        Model,
        Run,
        SequenceData,
        compare,
        evaluate,
        load,
        prepare,
        reproduce,
        train,
        tune,
        write_report,
    )

__version__ = "0.1.0"
__all__ = [
    "Columns",
    "MclrecError",
    "MclrecWarning",
    "Model",
    "Run",
    "SequenceData",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "prepare",
    "reproduce",
    "train",
    "tune",
    "write_report",
]


_ALONE = {"Model": "mclrec.serving.predictor"}
"""What is fetched from its own module: recommending needs neither the training stack nor the database."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mclrec' has no attribute {name!r}")
    return getattr(import_module(_ALONE.get(name, "mclrec.api")), name)


def __dir__() -> list[str]:
    return __all__
