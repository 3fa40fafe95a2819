"""Sequential recommendation by meta-optimised contrastive learning (MCLRec).

    data = mclrec.load("beauty")
    run = mclrec.train(data, model="mclrec", beta=0.05)
    run.metrics["U"]["HR@20"]
    model = mclrec.Model.load(run.directory)
    model.recommend(["11", "42"], k=10)

Importing this package imports neither torch nor any other slow module; names are resolved on first use.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # not imported from typing: Ctrl-C during these first imports prints a traceback
if TYPE_CHECKING:
    from typing import Any

    from mclrec.api import (
        Columns,
        Entry,
        Model,
        Query,
        Reading,
        Run,
        SequenceData,
        compare,
        datasets,
        evaluate,
        load,
        prepare,
        register_dataset,
        register_model,
        reproduce,
        train,
        tune,
        write_report,
    )
    from mclrec.data.split_export import export_split
    from mclrec.errors import MclrecError, MclrecWarning
    from mclrec.inference.hub import push_to_hub
    from mclrec.models.registry import summaries as models  # called by `mclrec.models()`
    from mclrec.production import export, serve
    from mclrec.runs.backtesting import backtest
    from mclrec.runs.final import finalize
    from mclrec.runs.judging import judge
    from mclrec.runs.nightly import update

__version__ = "0.2.0"
__all__ = [
    "Columns",
    "Entry",
    "MclrecError",
    "MclrecWarning",
    "Model",
    "Query",
    "Reading",
    "Run",
    "SequenceData",
    "__version__",
    "backtest",
    "compare",
    "datasets",
    "evaluate",
    "export",
    "export_split",
    "finalize",
    "judge",
    "load",
    "models",
    "prepare",
    "push_to_hub",
    "register_dataset",
    "register_model",
    "reproduce",
    "serve",
    "train",
    "tune",
    "update",
    "write_report",
]


_ALONE = {
    "Entry": "mclrec.models.registry",
    "MclrecError": "mclrec.errors",
    "MclrecWarning": "mclrec.errors",
    "Model": "mclrec.inference.model",
    "Query": "mclrec.inference.queries",
    "backtest": "mclrec.runs.backtesting",
    "datasets": "mclrec.data.datasets",
    "export": "mclrec.production",
    "export_split": "mclrec.data.split_export",
    "finalize": "mclrec.runs.final",
    "judge": "mclrec.runs.judging",
    "push_to_hub": "mclrec.inference.hub",
    "register_dataset": "mclrec.data.datasets",
    "serve": "mclrec.production",
    "update": "mclrec.runs.nightly",
}
"""Names resolved from their own module, not from `mclrec.api`: inference and listing do without the training stack."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mclrec' has no attribute {name!r}")
    if name == "models":  # a callable package
        return import_module("mclrec.models")
    return getattr(import_module(_ALONE.get(name, "mclrec.api")), name)


def __dir__() -> list[str]:
    return __all__
