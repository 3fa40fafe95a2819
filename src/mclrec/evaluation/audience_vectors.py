"""Item vectors computed from the sets of users who had each item: a similarity that no recommender has learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mclrec.data.sequences import SequenceData, distinct_items
from mclrec.randomness import Stream, generator

__all__ = ["audience_vectors"]

_SIZE = 256


def audience_vectors(training: SequenceData, size: int = _SIZE) -> npt.NDArray[np.float32]:
    """Compute item vectors whose cosines approximate those of the items' sets of users in training.

    The cosine of two sets of users A and B is |A and B| / sqrt(|A| |B|). Each user draws ``size`` random signs, and an
    item's vector is the sum over its users (random projection, Achlioptas 2003). The cosine of one pair has an error of
    about 1 / sqrt(size), a mean over many pairs a much smaller one. The signs are the same in every call.

    Args:
        training: the training data.
        size: d, the length of the vectors.

    Returns:
        (V + 1, d); zero for an item that does not occur in training.
    """
    had, base = distinct_items(training), training.num_items + 1
    users, items = had.rows, had.items
    rng = generator(0, Stream.AUDIENCES)
    vectors = np.zeros((base, size), dtype=np.float32)
    for column in range(size):
        signs = 2.0 * rng.integers(2, size=training.num_users) - 1
        vectors[:, column] = np.bincount(items, weights=signs[users], minlength=base)
    return vectors
