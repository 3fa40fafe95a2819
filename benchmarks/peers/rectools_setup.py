"""Shared parts of RecTools' measurements: rows of a log for it, its flat SASRec network, and the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rectools import Columns
from rectools.fast_transformers import FlatSASRecNet

__all__ = ["flat_network", "flat_optimiser", "interactions", "tensors"]


def interactions(inter: Path, held_out: int, newest: int | None = None) -> pd.DataFrame:
    """Rows of a log in RecTools' format: each user's ``newest`` (None: all) before the last ``held_out``."""
    frame = pd.read_csv(inter, sep="\t", header=0, names=[Columns.User, Columns.Item, "place"])
    from_end = frame.sort_values("place").groupby(Columns.User).cumcount(ascending=False).reindex(frame.index)
    kept = from_end >= held_out
    if newest is not None:
        kept &= from_end < held_out + newest
    frame = frame[kept].copy()
    frame[Columns.Weight] = 1.0
    frame[Columns.Datetime] = pd.to_datetime(frame.pop("place"), unit="s")
    return frame


def tensors(frame: pd.DataFrame) -> tuple[Any, Any, Any]:
    """Users, items and times of rows, for `rectools.fast_transformers.build_sequences`."""
    users, items = (torch.from_numpy(frame[name].to_numpy()) for name in (Columns.User, Columns.Item))
    return users, items, torch.from_numpy(frame[Columns.Datetime].astype("int64").to_numpy())


def flat_network(items: int, width: int, blocks: int, heads: int, length: int, dropout: float) -> Any:
    """RecTools' flat SASRec network with the initial weights of its `SASRecModel`."""
    net = FlatSASRecNet(items, width, blocks, heads, length, dropout)
    for weights in net.parameters():
        if weights.dim() > 1:
            torch.nn.init.xavier_normal_(weights)
    return net


def flat_optimiser(net: Any, learning_rate: float = 1e-3) -> Any:
    """The optimiser of RecTools' `SASRecModel`."""
    return torch.optim.Adam(net.parameters(), lr=learning_rate, betas=(0.9, 0.98))
