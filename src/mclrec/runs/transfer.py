"""Go on from an earlier model on a newer log: known items and users keep their vectors, new ones are added."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mclrec.data.packed import IntArray
from mclrec.data.sequences import Vocabulary
from mclrec.errors import ConfigError
from mclrec.models.base import Recommender
from mclrec.models.storage import LoadedModel

__all__ = ["warm_start"]


def warm_start(model: Recommender, items: Vocabulary, users: Vocabulary, earlier: LoadedModel) -> int:
    """Copy what ``earlier`` has learnt into ``model``.

    Rows of item and of user tensors move with their outside ids; other tensors are copied whole.

    Args:
        model: freshly initialised; its new items and users keep that.
        items: its vocabulary.
        users: the users of its data.
        earlier: a model of the same class.

    Returns:
        Number of items that both know.

    Raises:
        ConfigError: the models differ in class or in the shape of a tensor, or only count.
    """
    if type(earlier.model) is not type(model):
        raise ConfigError(
            f"cannot go on from a {earlier.name} model with another model: use --model {earlier.name}"
        )
    if not model.phases():
        raise ConfigError(
            f"a {earlier.name} model only counts and has nothing to go on from: leave out --from"
        )
    _check_shapes(earlier.model, model)
    places = earlier.items.dense_all(items)
    source, target = earlier.model.state_dict(), model.state_dict()
    for name, tensor in target.items():
        if name in model.item_tensors:
            first = model.shard.first if model.shard_of(name) else 0
            _copy_rows(tensor, source[name], places, earlier.model.num_items, first)
        elif name in model.user_tensors and earlier.users is not None:
            _copy_rows(tensor, source[name], earlier.users.dense_all(users), earlier.model.num_users)
        else:
            tensor.copy_(source[name])
    return int((places > 0).sum())


def _check_shapes(earlier: Recommender, model: Recommender) -> None:
    """Refuse models that differ in more than their items, before anything is copied."""
    there, here = _shapes(earlier), _shapes(model)
    for name in (*here, *there):
        if here.get(name) != there.get(name):
            raise ConfigError(
                f"cannot go on from the earlier model: {name} has the shape {there.get(name)} there and "
                f"{here.get(name)} here, items not counted; give the same settings"
            )


def _shapes(model: Recommender) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors, without the rows of items and users."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for names, count in ((model.item_tensors, model.num_items), (model.user_tensors, model.num_users)):
        for name in shapes.keys() & set(names):
            rows, *rest = shapes[name]
            if shard := model.shard_of(name):
                rows = int(shard.processes.all_reduce_sum(torch.tensor(rows)))
            shapes[name] = (rows - count, *rest)
    return shapes


@torch.no_grad()
def _copy_rows(target: Tensor, source: Tensor, places: IntArray, source_count: int, first: int = 0) -> None:
    """Rows of what is known, the row of what is not, and the rows of special ids after all.

    ``target`` may be a run of rows from number ``first`` on.
    """
    special = np.arange(source_count + 1, len(source))
    sources = np.concatenate([[0], np.where(places > 0, places, -1), special])[first : first + len(target)]
    known = torch.from_numpy(sources >= 0)
    target[known] = source[torch.from_numpy(sources)[known]]
