"""Go on from an earlier model on a newer log: known items keep their vectors, new ones are added."""

from __future__ import annotations

import torch
from torch import Tensor

from mclrec.data.packed import IntArray
from mclrec.data.sequences import Vocabulary
from mclrec.errors import ConfigError
from mclrec.models.base import Recommender
from mclrec.models.storage import LoadedModel

__all__ = ["take_over"]


def take_over(model: Recommender, items: Vocabulary, earlier: LoadedModel) -> int:
    """Copy what ``earlier`` has learnt into ``model``.

    Rows of item tensors move with their outside ids; other tensors are copied whole.

    Args:
        model: freshly initialised; its new items keep that.
        items: its vocabulary.
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
            _copy_rows(tensor, source[name], places, model.num_items, earlier.model.num_items)
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
    """Shapes of all tensors, without the rows of the items."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in model.item_tensors:
        rows, *rest = shapes[name]
        shapes[name] = (rows - model.num_items, *rest)
    return shapes


@torch.no_grad()
def _copy_rows(target: Tensor, source: Tensor, places: IntArray, num_items: int, source_items: int) -> None:
    """Rows of known items, the padding row, and the rows of special ids after the items."""
    known = torch.from_numpy(places > 0)
    target[1 : num_items + 1][known] = source[torch.from_numpy(places)[known]]
    target[0] = source[0]
    target[num_items + 1 :] = source[source_items + 1 :]
