"""Choice of targets among a user's interactions in a period: the first, the last, a random one, or all."""

from __future__ import annotations

import re

import numpy as np

from mclrec.arguments import check_choice, text_of
from mclrec.data.packed import IntArray, ranges
from mclrec.errors import ConfigError
from mclrec.randomness import Stream, generator

__all__ = ["TARGET_CHOICES", "check_targets", "chosen_places"]

TARGET_CHOICES = ("first", "last", "all", "random")
"""Names of the choices; ``random-7`` draws with seed 7, ``random`` with seed 1."""

_SEEDED = re.compile(r"random-(\d{1,9})")


def check_targets(value: object) -> str:
    """Check a choice of targets; return it in the form that split rules use.

    Raises:
        ConfigError: there is no such choice; the closest name is suggested.
    """
    text = text_of("targets", value)
    if _SEEDED.fullmatch(text):
        return "random" if int(text.removeprefix("random-")) == 1 else text
    if text.startswith("random-"):
        raise ConfigError(f"targets: {text!r}: the seed after random- must be a whole number, as in random-7")
    check_choice("targets", text, TARGET_CHOICES)
    return text


def chosen_places(starts: IntArray, ends: IntArray, choice: str) -> tuple[IntArray, IntArray]:
    """Choose targets among the places ``starts[u]:ends[u]`` of each user u; the range may be empty.

    Args:
        starts: (U,) first place of each user.
        ends: (U,) end of the range, exclusive.
        choice: as returned by `check_targets`.

    Returns:
        (M,) user rows in ascending order, and (M,) places, ascending within each user.
    """
    lengths = np.maximum(ends - starts, 0)
    users: IntArray = np.flatnonzero(lengths)
    if choice == "all":
        return np.repeat(users, lengths[users]), ranges(starts[users], lengths[users])
    if choice == "first":
        places = starts
    elif choice == "last":
        places = ends - 1
    else:
        seed = int(choice.removeprefix("random-")) if choice != "random" else 1
        drawn = generator(seed, Stream.TARGETS).random(len(lengths))
        places = starts + np.minimum((drawn * lengths).astype(np.int64), np.maximum(lengths - 1, 0))
    return users, places[users]
