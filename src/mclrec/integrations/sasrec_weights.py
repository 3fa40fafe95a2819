"""Convert weights of RecBole's SASRec, and of models with its encoder, to ours: renamed and reordered, not changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mclrec.data.packed import IntArray
from mclrec.errors import ModelFileError, quoted
from mclrec.models.sasrec import SASRec, SASRecConfig
from mclrec.wording import count_of

__all__ = ["rows_of_items", "sasrec_of", "sizes_of"]

_ITEMS, _POSITIONS = "item_embedding.weight", "position_embedding.weight"
_LAYER = re.compile(r"trm_encoder\.layer\.(\d+)\.(.+)")
_OUTSIDE_LAYERS = {"LayerNorm": "norm"}
_IN_LAYER = {
    "multi_head_attention.dense": "out",
    "multi_head_attention.LayerNorm": "attention_norm",
    "feed_forward.dense_1": "up",
    "feed_forward.dense_2": "down",
    "feed_forward.LayerNorm": "norm",
}
_QKV = tuple(f"multi_head_attention.{part}" for part in ("query", "key", "value"))
_KINDS = ("weight", "bias")
_FIXED = {"hidden_act": "gelu", "layer_norm_eps": 1e-12}
"""Fixed properties of our encoder that are configurable in RecBole."""


def sizes_of(tensors: Mapping[str, Tensor], values: Mapping[str, Any], heads: int | None) -> dict[str, Any]:
    """Infer the settings of an encoder from its weights.

    Args:
        tensors: weights by RecBole's names.
        values: RecBole's configuration; empty if unknown.
        heads: attention heads, which weights do not reveal; None for those of the configuration, or RecBole's 2.

    Raises:
        ModelFileError: they are not the weights of a SASRec, or of a variant that is not supported.
    """
    for name in (_ITEMS, _POSITIONS, "trm_encoder.layer.0.feed_forward.dense_1.weight"):
        if name not in tensors:
            raise ModelFileError(
                f"not the weights of a SASRec of RecBole, or of a model with its encoder: there is no {name}, but "
                f"{quoted(next(iter(tensors), 'nothing'))}"
            )
    for key, meant in _FIXED.items():
        if key in values and values[key] != meant:
            raise ModelFileError(
                f"{key} = {quoted(values[key])}: the encoder here has {meant}, which would give other scores"
            )
    known = values.get("n_heads", 2) if heads is None else heads
    hidden = tensors[_ITEMS].shape[-1]
    if not isinstance(known, int) or known < 1 or hidden % known:
        raise ModelFileError(
            f"heads = {quoted(known)} does not divide vectors of {hidden} numbers; use --heads"
        )
    found = [_LAYER.fullmatch(name) for name in tensors]
    return {
        "hidden_size": hidden,
        "max_length": len(tensors[_POSITIONS]),
        "inner_size": len(tensors["trm_encoder.layer.0.feed_forward.dense_1.weight"]),
        "layers": 1 + max(int(one[1]) for one in found if one),
        "heads": known,
    }


def rows_of_items(tensors: Mapping[str, Tensor], num_items: int) -> int:
    """Number of rows of the item table, after checking that it fits the number of items.

    Raises:
        ModelFileError: the table has neither V + 1 rows (padding and items) nor V + 2 (a mask too).
    """
    rows = len(tensors[_ITEMS])
    if rows - num_items not in (1, 2):
        raise ModelFileError(
            f"item_embedding.weight has padding and {count_of(rows - 1, 'item')}, but the log has "
            f"{count_of(num_items, 'item')}; read it as RecBole did (--min-count, --where)"
        )
    return rows


def sasrec_of(tensors: Mapping[str, Tensor], sizes: Mapping[str, Any], rows: IntArray) -> SASRec:
    """Build a SASRec from these weights.

    Args:
        tensors: weights by RecBole's names.
        sizes: settings from `sizes_of`.
        rows: (V,) the row of each dense item id in RecBole's item table.

    Raises:
        ModelFileError: a tensor is missing, has no counterpart, or has another shape.
    """
    num_items = len(rows)
    config = SASRecConfig.model_validate(
        {**sizes, "unit": "prefixes", "loss": "softmax", "positions": "oldest"}
    )
    model = SASRec(config, num_items)
    left = dict(tensors)
    table = left.pop(_ITEMS)
    state = {
        "encoder.items.weight": torch.cat(
            [table[:1], table[torch.from_numpy(rows)], _mask_row(table, num_items)]
        ),
        "encoder.positions.weight": left.pop(_POSITIONS),
        "encoder.positions.seen": torch.tensor(sizes["max_length"]),
    }
    for kind in _KINDS:
        state |= {
            f"encoder.{ours}.{kind}": _taken(left, f"{name}.{kind}") for name, ours in _OUTSIDE_LAYERS.items()
        }
        for layer in range(sizes["layers"]):
            theirs, block = f"trm_encoder.layer.{layer}", f"encoder.blocks.{layer}"
            state[f"{block}.qkv.{kind}"] = torch.cat(
                [_taken(left, f"{theirs}.{part}.{kind}") for part in _QKV]
            )
            for name, ours in _IN_LAYER.items():
                state[f"{block}.{ours}.{kind}"] = _taken(left, f"{theirs}.{name}.{kind}")
    _check_left(list(left))
    _check_shapes(model, state)
    model.load_state_dict(state)
    return model.eval()


def _mask_row(table: Tensor, num_items: int) -> Tensor:
    """The vector of the mask, which never occurs in SASRec's histories; zeros if the table has none."""
    return table[num_items + 1 :] if len(table) == num_items + 2 else torch.zeros_like(table[:1])


def _taken(left: dict[str, Tensor], name: str) -> Tensor:
    if name not in left:
        raise ModelFileError(f"incomplete weights of a SASRec: there is no {name}")
    return left.pop(name)


def _check_left(names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ModelFileError(
            f"{quoted(names[0])}{more}: not weights of a SASRec, but may change its scores; if they do not, like "
            "those of augmenters, leave them out with --leave-out PREFIX"
        )


def _check_shapes(model: SASRec, state: Mapping[str, Tensor]) -> None:
    for name, tensor in model.state_dict().items():
        if state[name].shape != tensor.shape:
            found, wanted = tuple(state[name].shape), tuple(tensor.shape)
            raise ModelFileError(
                f"weights of {name} have the shape {found}, not {wanted} as the others imply"
            )
