"""Keyed randomness: a generator is derived from its purpose, never carried along as state.

A batch prepared ahead, a resumed run and a second process therefore draw the same numbers, and switching
one source of randomness off does not move the others.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Stream", "generator"]


class Stream(IntEnum):
    """Purposes of random numbers. The values are part of a run's identity: append, never renumber.

    Negatives come from a child of the views' generator (`numpy.random.Generator.spawn`). Within a stream all keys
    have the same length: NumPy pads shorter ones with zeros.
    """

    INITIALISATION = 0
    ORDER = 1
    VIEWS = 2
    DROPOUT = 4
    BOOTSTRAP = 5
    CLUSTERING = 7
    NOISE = 8
    PICTURE = 9
    EXPORT = 10
    SEARCH = 11
    AUDIENCES = 12
    SHUFFLE = 13
    TARGETS = 14
    CALIBRATION = 15
    VALIDATION = 16
    WARM_START = 17


def generator(seed: int, stream: Stream, *key: int) -> np.random.Generator:
    """Generator for one purpose and one key, such as ``generator(seed, Stream.VIEWS, phase, epoch, step)``.

    SFC64 seeded through ``SeedSequence``: the cheapest of NumPy's generators whose streams are independent.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, int(stream), *key])))
