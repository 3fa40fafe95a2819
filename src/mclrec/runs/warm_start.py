"""Warm start: continue from an earlier model on a newer log; known items and users keep their vectors."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from mclrec.data.moments import moment, time_of, units_of
from mclrec.data.packed import IntArray
from mclrec.data.sequences import SequenceData
from mclrec.data.split import EVERYTHING, make_split
from mclrec.data.split_rules import SplitRule
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, MclrecWarning, quoted
from mclrec.models.base import Recommender
from mclrec.models.directory import ITEMS, read_items
from mclrec.models.storage import LoadedModel
from mclrec.runs.run import Run
from mclrec.runs.same_function import warn_of_other_function
from mclrec.wording import count_of

__all__ = ["check_earlier", "learns_nothing_newer", "warm_start"]

_FEW = 0.01
"""Share of the smaller catalogue below which two catalogues count as having hardly any item in common."""

_EXAMPLES = 3


def check_earlier(earlier: Run, data: SequenceData, split: str) -> None:
    """Check that training can start from a model on these data; warns if little is new, or little can be kept.

    Args:
        earlier: run of the earlier model.
        data: data to continue training on.
        split: rule by which their targets are held out.

    Raises:
        ConfigError: the model has learnt from what would be held out, or knows no item of the data.
        ModelFileError: its directory is damaged.
    """
    info = earlier.info
    if info.measured_by is not None:
        raise ConfigError(
            f"{earlier.directory}: is a final model, which has learnt from what this run holds out; start from "
            f"{info.measured_by.run}, which was measured"
        )
    items, _ = read_items(earlier.directory / ITEMS, info.num_items)
    shared, smaller = data.item_ids.shared_with(items), min(len(items), data.num_items)
    if not shared:
        raise ConfigError(
            f"{data.name} ({data.provenance}) has no item in common with {earlier.directory} ({info.data.place}): "
            f"{_example_ids(data.item_ids)} here, {_example_ids(items)} there; a warm start is for a newer log with "
            "the same ids"
        )
    if shared < _FEW * smaller:
        warnings.warn(
            f"{data.name} has hardly any item in common with {earlier.directory}: {shared:,} of {smaller:,}; nearly "
            "everything is learnt from scratch",
            MclrecWarning,
            stacklevel=2,
        )
    _check_rules(earlier, data, split)
    if learns_nothing_newer(earlier, data, split):
        warnings.warn(
            f"{data.name}: held out from {SplitRule.of(split).valid_from} on, as in {earlier.directory}, so nothing "
            "newer is learnt; give a later --valid-from and --test-from",
            MclrecWarning,
            stacklevel=2,
        )


def learns_nothing_newer(earlier: Run, data: SequenceData, split: str) -> bool:
    """Whether both splits hold out from the same fixed moment on, so that training sees no newer row than before.

    Args:
        earlier: run of the earlier model.
        data: data to continue training on.
        split: rule by which their targets are held out.

    Raises:
        ConfigError: data would be held out from an earlier moment than in the earlier run, which has learnt from them.
    """
    before, now = (_held_out_from(data, rule) for rule in (earlier.info.split, split))
    if before is None or now is None:
        return False
    if now < before:
        raise ConfigError(
            f"{earlier.directory}: has learnt from rows up to {SplitRule.of(earlier.info.split).valid_from}, some of "
            f"which would be held out from {SplitRule.of(split).valid_from} on; give a later --valid-from"
        )
    return now == before


def _check_rules(earlier: Run, data: SequenceData, split: str) -> None:
    """If the split rules differ, check that the new targets are newer than what the earlier model has learnt from.

    Two fixed moments are compared by `learns_nothing_newer`; the same rule on a grown log holds out newer rows.

    Raises:
        ConfigError: they are not newer. It is only a warning if it is not known up to when the model has learnt.
    """
    if EVERYTHING in (earlier.info.split, split):
        return
    before, now = SplitRule.of(earlier.info.split), SplitRule.of(split)
    if before.name == now.name and (before.valid_from is None) == (now.valid_from is None):
        return
    again = f"split by {earlier.info.split} again, or use --split time with a later moment"
    until = _learnt_until(earlier, data)
    if until is None or data.times is None:
        _warn(
            f"{earlier.directory}: was split by {before.name}, and this run by {now.name}; without times it is not "
            f"known whether it has learnt from what is held out now: {again}"
        )
        return
    held_out = make_split(data, split)
    places = np.concatenate([held_out.validation.places, held_out.test.places])
    learnt = int(np.count_nonzero(data.times[places] < until))
    sure = before.name == "leave-one-out" or before.valid_from is not None
    text = (
        f"{earlier.directory}: {'has' if sure else 'may have'} learnt from rows before {moment(until)}, held out by "
        f"{before.name}; {learnt:,} of {count_of(len(places), 'target')} that {now.name} holds out are not newer: "
        f"{again}"
    )
    if learnt and sure:
        raise ConfigError(text)
    if learnt:
        _warn(text)


def _warn(text: str) -> None:
    warnings.warn(text, MclrecWarning, stacklevel=4)


def _learnt_until(earlier: Run, data: SequenceData) -> int | None:
    """The time before which a run may have learnt from any row, in the unit of ``data``; None if unknown."""
    fixed = SplitRule.of(earlier.info.split).valid_from
    last = None if earlier.intake is None else earlier.intake.left.last
    if data.times is None or (fixed is None and last is None):
        return None
    if fixed is not None:
        return time_of(fixed, data.times, data.name)
    per_second = units_of(data.times) or 1
    return time_of(str(last), data.times, data.name) + per_second


def _held_out_from(data: SequenceData, split: str) -> int | None:
    """The fixed moment from which a rule holds out, in the unit of ``data``; None if it has none."""
    fixed = None if split == EVERYTHING else SplitRule.of(split).valid_from
    return None if fixed is None or data.times is None else time_of(fixed, data.times, data.name)


def _example_ids(ids: Vocabulary) -> str:
    """A few ids as examples, for messages."""
    return ", ".join(quoted(ids[place]) for place in range(1, min(len(ids), _EXAMPLES) + 1))


def warm_start(model: Recommender, items: Vocabulary, users: Vocabulary, earlier: LoadedModel) -> int:
    """Copy the weights of an earlier model into ``model``.

    Rows of item and user tensors are matched by outside id; other tensors are copied whole, except those that training
    counts from its own data. Warns if settings differ in a way that changes the meaning of the weights.

    Args:
        model: freshly initialised; new items and users keep their initial vectors.
        items: outside ids of its items.
        users: outside ids of its users.
        earlier: the earlier model, of the same class.

    Returns:
        Number of items that both models have.

    Raises:
        ConfigError: the models differ in class or in the shape of a tensor, or are models that only count.
    """
    if type(earlier.model) is not type(model):
        raise ConfigError(
            f"cannot continue a {earlier.name} model with another model: use --model {earlier.name}"
        )
    if not model.phases():
        raise ConfigError(
            f"a {earlier.name} model only counts and has nothing to start from: leave out --warm-start"
        )
    _check_shapes(earlier.model, model)
    layout = model.layout()
    places = earlier.items.dense_all(items)
    source, target = earlier.model.state_dict(), model.state_dict()
    for name, tensor in target.items():
        if name in model.counted_tensors:
            continue
        if name in model.item_tensors:
            rows = _sources(source[name], places, earlier.model.num_items)
            _copy_rows(source[name], tensor, rows[layout.rows(name, len(rows))])
        elif name in model.user_tensors and earlier.users is not None:
            rows = _sources(source[name], earlier.users.dense_all(users), earlier.model.num_users)
            _copy_rows(source[name], tensor, rows)
        else:
            tensor.copy_(source[name])
    warn_of_other_function(model, earlier.model, places)
    return int((places > 0).sum())


def _check_shapes(earlier: Recommender, model: Recommender) -> None:
    """Refuse models whose shapes differ in more than the number of items and users, before anything is copied."""
    there, here = _shapes(earlier), _shapes(model)
    for name in (*here, *there):
        if here.get(name) != there.get(name):
            raise ConfigError(
                f"cannot continue the earlier model: {name} has the shape {there.get(name)} there and {here.get(name)} "
                "here, items not counted; give the same settings"
            )


def _shapes(model: Recommender) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors that a warm start copies, without the rows of items and users."""
    layout, shapes = model.layout(), {}
    for name, tensor in model.state_dict().items():
        if name in model.counted_tensors:
            continue
        shape = layout.shape(name, tensor)
        if name in model.item_tensors:
            shape = (shape[0] - model.num_items, *shape[1:])
        elif name in model.user_tensors:
            shape = (shape[0] - model.num_users, *shape[1:])
        shapes[name] = shape
    return shapes


def _sources(source: Tensor, places: IntArray, count: int) -> IntArray:
    """For each row of the new tensor, the row of ``source`` to copy there; -1 for a new item or user.

    Args:
        source: tensor of the earlier model: a row for unknown ids, one for each known id, and rows for special ids.
        places: dense id of each item or user in the earlier model, 0 for a new one.
        count: number of items or users in the earlier model.
    """
    special = np.arange(count + 1, len(source))
    return np.concatenate([[0], np.where(places > 0, places, -1), special])


@torch.no_grad()
def _copy_rows(source: Tensor, target: Tensor, rows: IntArray) -> None:
    """Copy row ``rows[i]`` of ``source`` into row i of ``target``; -1 leaves a row unchanged."""
    known = torch.from_numpy(rows >= 0)
    target[known] = source[torch.from_numpy(rows)[known]]
