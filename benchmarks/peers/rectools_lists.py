"""Train RecTools' SASRec on an exported split, write lists for its test users, and compute RecTools' own metrics.

Request: ``split`` (folder of csv files that ``mclrec prepare --export-split`` wrote), ``lists`` (csv files to write, by
protocol: F without items of the history, U with them), ``listed`` (length of a list), ``cuts``, ``seed``, and the
settings ``epochs``, ``factors`` and ``session``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
from rectools import Columns
from rectools.dataset import Dataset
from rectools.metrics import MRR, NDCG, HitRate, calc_metrics
from rectools.models import SASRecModel

from benchmarks.child import Document, Request, answer, versions

__all__ = ["measure"]


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    lightning.seed_everything(request["seed"])
    folder = Path(request["split"])
    model = SASRecModel(
        n_factors=request["factors"], session_max_len=request["session"], epochs=request["epochs"]
    )
    model.fit(Dataset.construct(_interactions(folder / "training.csv")))
    histories = Dataset.construct(_interactions(folder / "test-histories.csv"))
    users = pd.read_csv(folder / "test-users.csv")["user"].to_numpy()
    targets = _interactions(folder / "test-targets.csv")
    found = {}
    for label, path in request["lists"].items():
        reco = model.recommend(
            users,
            histories,
            k=request["listed"],
            filter_viewed=label == "F",
            on_unsupported_targets="ignore",
        )
        reco.to_csv(path, index=False)
        found[label] = _metrics(reco, targets, request["cuts"])
    return {"metrics": found, "versions": versions(["rectools", "torch", "numpy", "pandas"])}


def _interactions(path: Path) -> pd.DataFrame:
    """Rows of an export in RecTools' format; the position in the history replaces the time, which may be tied."""
    rows = pd.read_csv(path, dtype={"item": str})
    return pd.DataFrame(
        {
            Columns.User: rows["user"],
            Columns.Item: rows["item"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(rows["position"], unit="s"),
        }
    )


def _metrics(reco: pd.DataFrame, targets: pd.DataFrame, cuts: list[int]) -> dict[str, float]:
    """RecTools' metrics; ``divide_by_achievable`` makes the ideal list of NDCG that of the actual targets, as ours."""
    wanted: dict[str, Any] = {}
    for k in cuts:
        wanted |= {f"HR@{k}": HitRate(k), f"MRR@{k}": MRR(k), f"default NDCG@{k}": NDCG(k)}
        wanted[f"NDCG@{k}"] = NDCG(k, divide_by_achievable=True)
    found = calc_metrics(wanted, reco, targets)
    return {name: float(np.float64(value)) for name, value in found.items()}


if __name__ == "__main__":
    answer(measure)
