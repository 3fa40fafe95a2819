"""EASE: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.

A linear model without a hidden layer, in closed form (section 3.1, equation 8). X is the binary matrix of users by
items,

    P = (X'X + lambda I)^-1,   B(i, j) = -P(i, j) / P(j, j) for i != j and 0 for i = j,

and the score of item j is the sum of B(i, j) over the items i of the history (equation 1). B minimises
|X - XB|^2 + lambda |B|^2 among the matrices with a diagonal of zeros.

Departs from the paper in: an item for which no item of the history has a weight is ranked by its popularity
(`mclrec.models.item_item`). The inverse comes from a Cholesky decomposition in fp64; B is stored in fp32.

``neighbours`` is ours: only the largest weights of each column of B, by absolute value, are stored and used. The model
then takes 8 bytes per weight instead of 4 V^2 in all, and B is no longer the minimiser; solving takes as much memory as
without ``neighbours``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mclrec.data.batches import Histories, to_device
from mclrec.data.sequences import SequenceData, distinct_items
from mclrec.errors import TrainingError
from mclrec.models.item_item import Cells, ItemItem, ItemItemConfig, common_users
from mclrec.models.sizes import check_room
from mclrec.wording import count_of

__all__ = ["EASE", "EASEConfig"]

_ROWS = 512  # rows of the matrix that are processed at a time


class EASEConfig(ItemItemConfig):
    """Configuration of EASE."""

    lambda_: float = Field(
        default=500.0, gt=0, le=1e12, alias="lambda", description="weight of the L2 penalty"
    )
    neighbours: int | None = Field(
        default=None,
        ge=1,
        description="largest weights by absolute value that are kept for each item; none: all",
    )


class EASE(ItemItem):
    """Linear item-item model with a diagonal of zeros, solved in closed form."""

    config_type = EASEConfig
    config: EASEConfig
    memory_advice = "leave rare items out of the log, or use itemknn"
    table: Tensor | None

    def __init__(self, config: EASEConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        whole = None if config.neighbours is not None else torch.zeros(num_items + 1, num_items + 1)
        self.register_buffer("table", whole)

    def on_fit_start(self, data: SequenceData) -> None:
        """Solve for B.

        Raises:
            TrainingError: the penalty is too small for these data.
            ResourceError: the two V x V matrices of the solution do not fit into memory.
        """
        super().on_fit_start(data)
        check_room(
            16 * self.num_items**2,
            f"EASE inverts a matrix whose rows and columns are {count_of(self.num_items, 'item')}, which takes",
            self.memory_advice,
        )
        if self.table is not None:
            self.table = self.table.new_zeros(0)  # free it before the matrices need the memory
        inverse = _inverse(data, self.config.lambda_)
        if self.config.neighbours is None:
            self.table = _weights(inverse).to(self.offsets.device)
        else:
            self.keep(_largest(inverse, self.config.neighbours))

    def sums(self, rows: Tensor, items: Tensor, histories: Histories) -> Tensor:
        """Sums of rows of B, if all of it is stored; overrides `ItemItem.sums`."""
        if self.table is None:
            return super().sums(rows, items, histories)
        offsets = to_device(histories.offsets, histories.device)
        return functional.embedding_bag(items, self.table, offsets, mode="sum", include_last_offset=True)


def _inverse(data: SequenceData, penalty: float) -> Tensor:
    """(V, V) fp64 P, the inverse of X'X + lambda I."""
    gram = torch.zeros(data.num_items, data.num_items, dtype=torch.float64)
    cells = gram.numpy()
    for part in common_users(distinct_items(data), data.num_items):
        cells[part.targets - 1, part.sources - 1] = part.values
    gram.diagonal().add_(penalty)
    # Column-major, as LAPACK wants it: a symmetric matrix is its own transpose, and no third copy is made.
    root, failed = torch.linalg.cholesky_ex(gram.mT)
    del gram, cells
    if not failed:
        inverse = torch.cholesky_inverse(root)
        if torch.isfinite(inverse.diagonal()).all():
            return inverse
    # Two items have the same users and the penalty is lost in rounding, or its inverse overflows.
    raise TrainingError(
        f"lambda = {penalty:g}: too small for EASE to invert the counts of these data; give a larger one"
    )


def _weights(inverse: Tensor) -> Tensor:
    """(V + 1, V + 1) fp32 B, with a row and a column of zeros for the padding id."""
    size = len(inverse)
    table = torch.zeros(size + 1, size + 1)
    scale = -1 / inverse.diagonal()
    for start in range(0, size, _ROWS):
        table[1 + start : 1 + start + _ROWS, 1:] = inverse[start : start + _ROWS] * scale
    table.diagonal().zero_()
    return table


def _largest(inverse: Tensor, neighbours: int) -> Iterator[Cells]:
    """The largest weights of each column of B by absolute value, zeros left out."""
    size = len(inverse)
    kept = min(neighbours, size)
    for start in range(0, size, _ROWS):
        targets = torch.arange(start, min(start + _ROWS, size))
        columns = inverse[targets] / -inverse.diagonal()[targets].unsqueeze(
            1
        )  # P is symmetric: rows are columns
        columns[targets - start, targets] = 0
        sources = columns.abs().topk(kept, dim=1).indices.sort(dim=1).values
        values = columns.gather(1, sources).numpy().ravel()
        there = np.flatnonzero(values)
        yield Cells(
            np.repeat(targets.numpy() + 1, kept)[there], sources.numpy().ravel()[there] + 1, values[there]
        )
